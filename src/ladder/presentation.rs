//! Presentation time with the jumps taken out: what a viewer's clock shows (spec AMB-16, TS-035).

use crate::time::{Instant90, Span};

use super::event::Unit;

/// Follows the units of a main stream and joins its epochs end to end.
#[derive(Debug, Default)]
pub struct Presentation {
    epoch: u32,
    unjump: Span,
    end: Option<Instant90>,
}

impl Presentation {
    /// Takes the next unit; returns when it is presented.
    pub fn unit(&mut self, unit: &Unit) -> Instant90 {
        if unit.at.epoch != self.epoch {
            self.unjump = self.end.map_or(Span::ZERO, |end| end.since(unit.at.time));
            self.epoch = unit.at.epoch;
        }
        let position = unit.at.time.plus(self.unjump);
        self.extend(position.plus(unit.duration));
        position
    }

    /// When a moment of the present epoch's clock is presented.
    #[must_use]
    pub fn position(&self, time: Instant90) -> Instant90 {
        time.plus(self.unjump)
    }

    /// The present epoch.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Moves the end to `to` if that is later.
    pub fn extend(&mut self, to: Instant90) {
        self.end = Some(self.end.map_or(to, |known| known.max(to)));
    }

    /// When the last unit ends.
    #[must_use]
    pub fn end(&self) -> Option<Instant90> {
        self.end
    }
}

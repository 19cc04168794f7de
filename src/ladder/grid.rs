//! Where the renditions are cut: at times at which every one of them has a key frame (spec MVP-016, DUR-011).
//!
//! The grid takes the units of each member as they are scanned and decides the next cut as soon as it cannot be
//! another one, so that the same cuts come out however the input arrives.

use std::collections::VecDeque;

use crate::time::{Instant90, Span};

use super::clock::EpochTime;
use super::error::LadderError;
use super::event::{Access, Unit};
use super::presentation::Presentation;

/// How long segments are.
#[derive(Debug, Clone, Copy)]
pub struct CutPolicy {
    /// The duration aimed at.
    pub target: Span,
    /// How much longer a segment may be when a key frame lies just behind the target (29.97 Hz makes 6 s to 6.006).
    pub slack: Span,
    /// The duration beyond which a ladder is refused, or a single rendition warned of.
    pub longest: Span,
}

impl CutPolicy {
    /// The policy for a target duration.
    #[must_use]
    pub fn for_target(target: Span) -> Self {
        let slack = Span::from_ticks((target.ticks() / 12).min(45_000));
        Self { target, slack, longest: Span::from_ticks(target.ticks() / 2 * 3) }
    }

    fn limit(&self) -> Span {
        self.target.plus(self.slack)
    }
}

/// What kind of stream leads a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// Video: cuts lie at key frames.
    Video,
    /// Audio: cuts lie at any PES packet.
    Audio,
}

/// A cut: where each member is cut, and how well decoding can start there.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The unit of each member that begins the new segment, in the members' order.
    pub units: Vec<Unit>,
    /// The worst access among them.
    pub access: Access,
    /// Whether a discontinuity lies here (spec DSC-001, DSC-004).
    pub discontinuity: bool,
}

#[derive(Debug, Clone, Copy)]
struct Key {
    unit: Unit,
    /// Presentation time with the jumps taken out.
    position: Instant90,
}

#[derive(Debug)]
struct Member {
    name: String,
    shift: Span,
    keys: VecDeque<Key>,
    last: Option<Key>,
    /// Decoding time, with the jumps taken out, up to which all keys are known.
    frontier: Option<Instant90>,
    presentation: Presentation,
    last_decode: Option<EpochTime>,
    min_step: Option<Span>,
    ended: bool,
    recent: VecDeque<Instant90>,
}

/// The cuts that several members share. With one member it is that member's own.
#[derive(Debug)]
pub struct Grid {
    policy: CutPolicy,
    lead: Lead,
    members: Vec<Member>,
    cuts: u64,
    /// For audio: nominal time of the next cut after the last discontinuity.
    nominal: Span,
}

/// A cut that may be chosen: the key of each member, the worst access, and whether a break lies there.
type Chosen = (Vec<Key>, Access, bool);

enum Match {
    Common { units: Vec<Key>, access: Access, breaks: bool },
    Nowhere,
    Unknown,
}

impl Grid {
    /// A grid for members of one kind: their names and the shifts of their timestamps.
    #[must_use]
    pub fn new(policy: CutPolicy, lead: Lead, members: Vec<(String, Span)>) -> Self {
        let members = members.into_iter().map(|(name, shift)| Member::new(name, shift)).collect();
        Self { policy, lead, members, cuts: 0, nominal: policy.target }
    }

    /// Takes the next unit of a member.
    pub fn unit(&mut self, member: usize, unit: Unit) {
        if let Some(member) = self.members.get_mut(member) {
            member.unit(unit);
        }
    }

    /// Says that no unit of a member will come any more.
    pub fn end(&mut self, member: usize) {
        if let Some(member) = self.members.get_mut(member) {
            member.ended = true;
        }
    }

    /// The first unit of `member` that may become a cut and is not decided yet, if one has come.
    #[must_use]
    pub fn first_undecided(&self, member: usize) -> Option<Unit> {
        self.members.get(member)?.keys.front().map(|key| key.unit)
    }

    /// How many units are held that may still become cuts.
    #[must_use]
    pub fn held(&self) -> usize {
        self.members.iter().map(|member| member.keys.len()).sum()
    }

    /// Decides the next cut if that can be done with what has come.
    ///
    /// # Errors
    /// When the members have no common cut where one is due.
    pub fn decide(&mut self) -> Result<Option<Cut>, LadderError> {
        let chosen = if self.cuts == 0 {
            self.first()?
        } else if self.lead == Lead::Audio {
            self.timed()
        } else {
            self.next()?
        };
        let Some((units, access, breaks)) = chosen else {
            return Ok(None);
        };
        let mut skipped = None;
        for (member, key) in self.members.iter_mut().zip(&units) {
            if let Some(key) = member.advance(*key) {
                skipped = Some((member.name.clone(), key.unit.at.time.plus(member.shift)));
            }
        }
        if let Some((name, at)) = skipped {
            return Err(self.refuse(format!(
                "the timeline or the parameters of {name} change at {at}, where not every rendition has a key frame"
            )));
        }
        let first = self.cuts == 0;
        self.cuts += 1;
        let discontinuity = breaks && !first;
        Ok(Some(Cut { units: units.iter().map(|key| key.unit).collect(), access, discontinuity }))
    }

    /// The first cut: every member's first key frame, which must be the same moment.
    fn first(&mut self) -> Result<Option<Chosen>, LadderError> {
        let mut units = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            while member.keys.front().is_some_and(|key| key.unit.access < Access::Open) {
                member.keys.pop_front();
            }
            match member.keys.front() {
                Some(key) => units.push(*key),
                None if member.ended => return Err(member.without_start(self.lead)),
                None => return Ok(None),
            }
        }
        if self.lead == Lead::Video {
            let Some(reference) = units.first() else {
                return Ok(None);
            };
            for (member, key) in self.members.iter().zip(&units) {
                let apart = member.shown(key).stamp().since(self.members[0].shown(reference).stamp());
                if apart.abs() > self.tolerance() {
                    let reason = format!(
                        "{} starts {} {} {}",
                        member.name,
                        apart.abs(),
                        if apart > Span::ZERO { "after" } else { "before" },
                        self.members[0].name
                    );
                    return Err(self.refuse(reason));
                }
            }
        }
        let access = units.iter().map(|key| key.unit.access).min().unwrap_or(Access::None);
        Ok(Some((units, access, false)))
    }

    /// The next cut at key frames.
    fn next(&mut self) -> Result<Option<Chosen>, LadderError> {
        let (limit, longest) = (self.policy.limit(), self.policy.longest);
        let Some(reference) = self.members.first() else {
            return Ok(None);
        };
        let Some(last) = reference.last else {
            return Ok(None);
        };
        let all_ended = self.members.iter().all(|member| member.ended);
        let mut best: Option<Chosen> = None; // the last clean one within the limit
        let mut open: Option<Chosen> = None; // likewise, of any kind; else the first beyond
        let mut known_to = reference.known_for();
        for key in &reference.keys {
            let since = key.position.since(last.position);
            let (units, access, breaks) = match self.find(key) {
                Match::Common { units, access, breaks } => (units, access, breaks),
                Match::Nowhere => continue,
                Match::Unknown => {
                    known_to = known_to.min(Some(since));
                    break;
                }
            };
            let within = since <= limit;
            if breaks && (within || best.is_none()) {
                return Ok(Some((units, access, true)));
            }
            if breaks {
                known_to = Some(Span::from_ticks(i64::MAX));
                break;
            }
            let candidate = (units, access, false);
            if access == Access::Clean {
                if within {
                    best = Some(candidate.clone());
                } else if best.is_none() && since <= longest {
                    return Ok(Some(candidate));
                }
            }
            if within || open.is_none() {
                open = Some(candidate);
            }
            if !within && best.is_some() {
                break;
            }
        }
        for member in &self.members {
            known_to = known_to.min(member.known_for());
        }
        if all_ended {
            let rest = self.members.iter().filter_map(Member::rest).max().unwrap_or(Span::ZERO);
            if rest <= limit {
                return Ok(None); // what is left is the last segment
            }
            let reach = |chosen: &Chosen| chosen.0.first().map_or(Span::ZERO, |key| key.position.since(last.position));
            return match best.or(open) {
                Some(chosen) if self.members.len() == 1 || reach(&chosen) <= longest => Ok(Some(chosen)),
                _ => self.check_ends(rest).map(|()| None),
            };
        }
        let Some(known_to) = known_to else {
            return Ok(None);
        };
        if known_to > limit && best.is_some() {
            return Ok(best);
        }
        if known_to <= longest {
            self.forget_before(best.as_ref().or(open.as_ref()), limit);
            return Ok(None);
        }
        if let Some(chosen) = open {
            let since = chosen.0.first().map_or(Span::ZERO, |key: &Key| key.position.since(last.position));
            if since <= longest || self.members.len() == 1 {
                return Ok(Some(chosen));
            }
        }
        if self.members.len() == 1 {
            return Ok(None); // a single rendition with long GOPs waits for its next key frame
        }
        if let Some(ended) = self.members.iter().find(|member| member.ended) {
            let reason = format!("{} ends before the others do", ended.name);
            return Err(self.refuse(reason));
        }
        let after = last.unit.at.time.plus(reference.shift);
        Err(self.refuse(format!("after {after} no key frame is common to all within {longest}, 1.5 times the target")))
    }

    /// Forgets keys that cannot become a cut any more, because a later one within the limit is as good.
    fn forget_before(&mut self, better: Option<&Chosen>, limit: Span) {
        let Some((keys, ..)) = better else {
            return;
        };
        for (member, key) in self.members.iter_mut().zip(keys) {
            if member.last.is_none_or(|last| key.position.since(last.position) > limit) {
                continue;
            }
            while member.keys.front().is_some_and(|first| first.unit.offset < key.unit.offset && !first.unit.breaks) {
                member.keys.pop_front();
            }
        }
    }

    /// After the last cut: members may not end further apart than one target duration (spec MVP-014).
    fn check_ends(&self, rest: Span) -> Result<(), LadderError> {
        let shortest = self.members.iter().filter_map(Member::rest).min().unwrap_or(rest);
        if self.members.len() > 1 && rest.minus(shortest) > self.policy.target {
            let short = self.members.iter().min_by_key(|member| member.rest());
            let name = short.map_or("", |member| member.name.as_str());
            return Err(self.refuse(format!("{name} ends {} before the longest rendition does", rest.minus(shortest))));
        }
        if self.members.len() > 1 && rest > self.policy.longest {
            return Err(self.refuse(format!("the last {rest} have no common key frame")));
        }
        Ok(())
    }

    /// The next cut of audio: each member's first unit at or after the nominal time, or at a break.
    fn timed(&mut self) -> Option<Chosen> {
        let mut units = Vec::with_capacity(self.members.len());
        let mut breaks = false;
        for member in &self.members {
            let last = member.last?;
            let from = last.position.plus(self.nominal);
            let key = member.keys.iter().find(|key| key.unit.breaks || key.position >= from)?;
            breaks |= key.unit.breaks;
            units.push(*key);
        }
        let first = units.first()?;
        let moved = first.position.since(self.members.first()?.last?.position);
        // Nominal times do not drift with the length of PES packets, except where a break starts anew.
        self.nominal = if breaks { self.policy.target } else { self.nominal.minus(moved).plus(self.policy.target) };
        Some((units, Access::Clean, breaks))
    }

    fn find(&self, reference: &Key) -> Match {
        let Some(first) = self.members.first() else {
            return Match::Nowhere;
        };
        let shown = first.shown(reference);
        let tolerance = self.tolerance();
        let mut units = vec![*reference];
        let (mut access, mut breaks) = (reference.unit.access, reference.unit.breaks);
        for member in self.members.iter().skip(1) {
            let near = |key: &&Key| {
                key.unit.at.epoch == reference.unit.at.epoch
                    && member.shown(key).stamp().since(shown.stamp()).abs() <= tolerance
            };
            match member.keys.iter().find(near) {
                Some(key) => {
                    access = access.min(key.unit.access);
                    breaks |= key.unit.breaks;
                    units.push(*key);
                }
                None if member.is_past(reference.unit.at.epoch, shown, tolerance) => return Match::Nowhere,
                None => return Match::Unknown,
            }
        }
        Match::Common { units, access, breaks }
    }

    /// Half of the shortest picture, by which renditions may differ.
    fn tolerance(&self) -> Span {
        let shortest = self.members.iter().filter_map(|member| member.min_step).min();
        Span::from_ticks(shortest.map_or(0, |step| step.ticks() / 2).max(90))
    }

    fn refuse(&self, reason: String) -> LadderError {
        let mut report = String::new();
        for member in &self.members {
            let keys: Vec<String> =
                member.recent.iter().map(|time| format!("{:.3}", time.plus(member.shift).seconds())).collect();
            report.push_str(&format!("  {}: key frames at {}\n", member.name, keys.join(" ")));
        }
        LadderError::NotAlignable { reason, report: report.trim_end().to_owned() }
    }
}

impl Member {
    fn new(name: String, shift: Span) -> Self {
        Self {
            name,
            shift,
            keys: VecDeque::new(),
            last: None,
            frontier: None,
            presentation: Presentation::default(),
            last_decode: None,
            min_step: None,
            ended: false,
            recent: VecDeque::new(),
        }
    }

    fn unit(&mut self, unit: Unit) {
        let position = self.presentation.unit(&unit);
        let decode = EpochTime { epoch: unit.at.epoch, time: unit.decode };
        if let Some(last) = self.last_decode
            && last.epoch == decode.epoch
            && decode.time > last.time
        {
            let step = decode.time.since(last.time);
            self.min_step = Some(self.min_step.map_or(step, |min| min.min(step)));
        }
        self.last_decode = Some(decode);
        self.frontier = Some(self.presentation.position(unit.decode));
        if unit.access > Access::None {
            self.keys.push_back(Key { unit, position });
            self.recent.push_back(unit.at.time);
            if self.recent.len() > 12 {
                self.recent.pop_front();
            }
        }
    }

    /// Why a member that has ended had no unit to begin with.
    fn without_start(&self, lead: Lead) -> LadderError {
        let rendition = self.name.clone();
        match lead {
            Lead::Video => LadderError::NoKeyFrame { rendition },
            Lead::Audio => LadderError::NoTimestamps { rendition },
        }
    }

    /// Presentation time as the output will show it.
    fn shown(&self, key: &Key) -> Instant90 {
        key.unit.at.time.plus(self.shift)
    }

    /// Time since the last cut of which all keys are known.
    fn known_for(&self) -> Option<Span> {
        if self.ended {
            return Some(Span::from_ticks(i64::MAX));
        }
        Some(self.frontier?.since(self.last?.position))
    }

    fn rest(&self) -> Option<Span> {
        Some(self.presentation.end()?.since(self.last?.position))
    }

    /// Whether every key up to the given moment is known.
    fn is_past(&self, epoch: u32, shown: Instant90, tolerance: Span) -> bool {
        if self.ended {
            return true;
        }
        let Some(decode) = self.last_decode else {
            return false;
        };
        if decode.epoch != epoch {
            return decode.epoch > epoch;
        }
        decode.time.plus(self.shift).stamp().since(shown.stamp()) > tolerance
    }

    /// Makes `cut` the last cut; returns a break that lies before it, which no cut may pass over.
    fn advance(&mut self, cut: Key) -> Option<Key> {
        let mut skipped = None;
        while let Some(key) = self.keys.front() {
            if key.unit.offset > cut.unit.offset {
                break;
            }
            if key.unit.offset < cut.unit.offset && key.unit.breaks {
                skipped = Some(*key);
            }
            self.keys.pop_front();
        }
        self.last = Some(cut);
        skipped
    }
}

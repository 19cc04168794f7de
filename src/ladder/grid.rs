//! Where the renditions are cut: at times at which every one of them has a key frame (spec MVP-016, DUR-011).
//!
//! The grid takes the units of each member as they are scanned and decides the next cut as soon as it cannot be
//! another one, so that the same cuts come out however the input arrives.

use std::collections::VecDeque;

use crate::limits;
use crate::time::{Instant90, Span};

use super::clock::EpochTime;
use super::error::LadderError;
use super::event::{Access, Unit};
use super::presentation::Presentation;

/// Key frames of each rendition that a refusal names.
const REPORTED: usize = 12;

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
    /// The shortest picture up to here.
    step: Span,
    /// How far the keys were known before this one came; a clock that steps back a little makes that more.
    known_to: Option<Instant90>,
}

impl Key {
    /// Half of the shorter picture, by which two renditions' key frames may differ. It does not depend on what came
    /// after them, so that it is the same however much has come.
    fn tolerance(&self, other: &Self) -> Span {
        Span::from_ticks((self.step.min(other.step).ticks() / 2).max(90))
    }
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
    /// For audio: when the next cut is due.
    due: Option<Instant90>,
}

/// The cuts that several members share. With one member it is that member's own.
#[derive(Debug)]
pub struct Grid {
    policy: CutPolicy,
    lead: Lead,
    members: Vec<Member>,
    cuts: u64,
}

/// The key of each member at which to cut, the worst access among them, and whether a discontinuity lies here.
type Chosen = (Vec<Key>, Access, bool);

enum Match {
    Common(Chosen),
    Nowhere,
    Unknown,
}

impl Grid {
    /// A grid for members of one kind: their names and the shifts of their timestamps.
    #[must_use]
    pub fn new(policy: CutPolicy, lead: Lead, members: Vec<(String, Span)>) -> Self {
        let members = members.into_iter().map(|(name, shift)| Member::new(name, shift)).collect();
        Self { policy, lead, members, cuts: 0 }
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

    /// The time before which no cut of `member` will lie that is not decided yet, on its own clock.
    #[must_use]
    pub fn earliest(&self, member: usize) -> Option<EpochTime> {
        let member = self.members.get(member)?;
        let unseen = member.last_decode?.horizon();
        Some(member.keys.front().map_or(unseen, |key| key.unit.at.min(unseen)))
    }

    /// Decides the next cut if that can be done with what has come.
    ///
    /// # Errors
    /// When the members have no common cut where one is due.
    pub fn decide(&mut self) -> Result<Option<Cut>, LadderError> {
        let chosen = if self.cuts == 0 {
            self.first()?
        } else if self.lead == Lead::Audio {
            self.timed()?
        } else {
            self.next()?
        };
        let Some((units, access, breaks)) = chosen else {
            return Ok(None);
        };
        if let Some(refusal) = self.members.iter().zip(&units).find_map(|(member, key)| self.passed_over(member, key)) {
            return Err(refusal);
        }
        for (member, key) in self.members.iter_mut().zip(&units) {
            member.advance(*key);
        }
        if self.lead == Lead::Audio {
            self.schedule();
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
                if apart.abs() > key.tolerance(reference) {
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
        let several = self.members.len() > 1;
        let mut best: Option<Chosen> = None; // the last clean one within the limit
        let mut open: Option<Chosen> = None; // likewise, of any kind; else the first beyond
        let mut known_to = reference.known_for();
        for key in &reference.keys {
            let since = key.position.since(last.position);
            if since > longest && (several || open.is_some()) {
                break; // too late, or too late to be better
            }
            let known = key.known_to.map(|known| known.since(last.position));
            if (best.is_some() && known > Some(limit)) || (open.is_some() && known > Some(longest)) {
                break; // decided before it came, whatever its time
            }
            let (units, access, breaks) = match self.find(key) {
                Match::Common(chosen) => chosen,
                Match::Nowhere => continue,
                Match::Unknown => {
                    known_to = known_to.min(Some(since));
                    break;
                }
            };
            let within = since <= limit;
            if since <= Span::ZERO && !breaks {
                // A clock that steps back a little is no jump, but no segment can end before it begins.
                continue;
            }
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
            if rest > limit
                && let Some(chosen) = best.or(open)
            {
                return Ok(Some(chosen));
            }
            return self.check_ends().map(|()| None); // what is left is the last segment
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
        if open.is_some() || !several {
            return Ok(open); // a single rendition with long GOPs waits for its next key frame
        }
        if let Some(ended) = self.members.iter().find(|member| member.ended) {
            return Err(self.refuse(format!("{} ends before the others do", ended.name)));
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

    /// After the last cut: members may not end further apart than one target duration (spec MVP-014), and nothing may
    /// be left that needs a cut.
    fn check_ends(&self) -> Result<(), LadderError> {
        if let Some(refusal) = self.members.iter().find_map(|member| self.passed_over_by_end(member)) {
            return Err(refusal);
        }
        let rests = self.members.iter().filter_map(|member| Some((member.rest()?, &member.name)));
        let (Some((longest, _)), Some((shortest, name))) = (rests.clone().max(), rests.min()) else {
            return Ok(());
        };
        let apart = longest.minus(shortest);
        if self.members.len() > 1 && longest > self.policy.limit() && apart > self.policy.target {
            return Err(self.refuse(format!("{name} ends {apart} before the longest rendition does")));
        }
        if self.members.len() > 1 && longest > self.policy.longest {
            return Err(self.refuse(format!("the last {longest} have no common key frame")));
        }
        Ok(())
    }

    fn passed_over(&self, member: &Member, cut: &Key) -> Option<LadderError> {
        self.refuse_break(member, member.keys.iter().take_while(|key| key.unit.offset < cut.unit.offset))
    }

    fn passed_over_by_end(&self, member: &Member) -> Option<LadderError> {
        self.refuse_break(member, member.keys.iter())
    }

    /// The refusal of a break among `keys`, which no segment may hold.
    fn refuse_break<'a>(&self, member: &Member, mut keys: impl Iterator<Item = &'a Key>) -> Option<LadderError> {
        let key = keys.find(|key| key.unit.breaks)?;
        let (name, at) = (&member.name, member.shown(key));
        Some(self.refuse(format!(
            "the timeline or the parameters of {name} change at {at}, where not every rendition has a key frame"
        )))
    }

    /// The next cut of audio: each member's first unit at or after the time that is due, or at a break.
    fn timed(&self) -> Result<Option<Chosen>, LadderError> {
        let mut units = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let Some(due) = member.due else {
                return Ok(None);
            };
            match member.keys.iter().find(|key| key.unit.breaks || key.position >= due) {
                Some(key) => units.push((*key, due)),
                None => return self.ran_out(member).map(|()| None),
            }
        }
        // Where one breaks, all are cut: at their own break if it is near, else at the same time.
        let breaking = units.iter().filter(|(key, _)| key.unit.breaks).map(|(key, due)| key.position.since(*due)).min();
        if let Some(at) = breaking {
            let near = at.plus(limits::SHIFT_NEAR);
            for (member, (unit, due)) in self.members.iter().zip(&mut units) {
                let time = |key: &Key| key.position.since(*due);
                let unknown = !member.ended && member.frontier.is_none_or(|frontier| frontier.since(*due) <= near);
                if unknown && !(unit.unit.breaks && time(unit) <= near) {
                    return Ok(None);
                }
                let own = member.keys.iter().find(|key| key.unit.breaks && time(key) <= near);
                match own.or_else(|| member.keys.iter().find(|key| time(key) >= at)) {
                    Some(key) => *unit = *key,
                    None => return self.ran_out(member).map(|()| None),
                }
            }
        }
        let units: Vec<Key> = units.into_iter().map(|(key, _)| key).collect();
        Ok((!units.is_empty()).then_some((units, Access::Clean, breaking.is_some())))
    }

    /// What it means that a member of audio has no unit left at which the next cut could lie.
    fn ran_out(&self, member: &Member) -> Result<(), LadderError> {
        if !member.ended {
            return Ok(());
        }
        if self.members.iter().all(|member| member.ended) {
            return self.check_ends();
        }
        if self.members.iter().any(|other| !other.ended && other.known_for() > Some(self.policy.longest)) {
            return Err(self.refuse(format!("{} ends before the others do", member.name)));
        }
        Ok(())
    }

    /// Sets when the next cut of audio is due: counted from the first cut or a break and not from the last cut, so that
    /// members whose PES packets are of different length do not drift apart.
    fn schedule(&mut self) {
        let target = self.policy.target;
        let broken = self.members.iter().filter_map(|member| {
            let last = member.last.filter(|last| last.unit.breaks)?;
            Some(last.position.since(member.due?))
        });
        let moved = broken.min().unwrap_or(Span::ZERO).plus(target);
        for member in &mut self.members {
            let from_now = member.last.map(|last| last.position.plus(target));
            member.due = member.due.map(|due| due.plus(moved)).or(from_now);
        }
        // After a pause the times that passed in it are left out, by all members alike.
        let passed =
            |member: &Member| member.due.is_some_and(|due| member.last.is_some_and(|last| due <= last.position));
        while target > Span::ZERO && self.members.iter().any(passed) {
            for member in &mut self.members {
                member.due = member.due.map(|due| due.plus(target));
            }
        }
    }

    fn find(&self, reference: &Key) -> Match {
        let Some(first) = self.members.first() else {
            return Match::Nowhere;
        };
        let shown = first.shown(reference);
        let mut units = vec![*reference];
        let (mut access, mut breaks) = (reference.unit.access, reference.unit.breaks);
        for member in self.members.iter().skip(1) {
            let near = |key: &&Key| {
                key.unit.at.epoch == reference.unit.at.epoch
                    && member.shown(key).stamp().since(shown.stamp()).abs() <= key.tolerance(reference)
            };
            match member.keys.iter().find(near) {
                Some(key) => {
                    access = access.min(key.unit.access);
                    breaks |= key.unit.breaks;
                    units.push(*key);
                }
                None if member.is_past(reference, shown) => return Match::Nowhere,
                None => return Match::Unknown,
            }
        }
        Match::Common((units, access, breaks))
    }

    fn refuse(&self, reason: String) -> LadderError {
        let mut report = String::new();
        for member in &self.members {
            // From the last cut on: those are the ones around the trouble.
            let keys = member.last.iter().chain(&member.keys).take(REPORTED).map(|key| member.shown(key));
            let keys: Vec<String> = keys.map(|time| format!("{:.3}", time.seconds())).collect();
            let keys =
                if keys.is_empty() { "no key frames".to_owned() } else { format!("key frames at {}", keys.join(" ")) };
            report.push_str(&format!("  {}: {keys}\n", member.name));
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
            due: None,
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
        let known_to = self.frontier;
        self.frontier = known_to.max(Some(self.presentation.position(unit.decode)));
        if unit.access > Access::None {
            self.keys.push_back(Key { unit, position, step: self.min_step.unwrap_or(unit.duration), known_to });
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
    fn is_past(&self, reference: &Key, shown: Instant90) -> bool {
        if self.ended {
            return true;
        }
        let Some(decode) = self.last_decode else {
            return false;
        };
        if decode.epoch != reference.unit.at.epoch {
            return decode.epoch > reference.unit.at.epoch;
        }
        decode.time.plus(self.shift).stamp().since(shown.stamp()) > reference.tolerance(reference)
    }

    /// Makes `cut` the last cut.
    fn advance(&mut self, cut: Key) {
        while self.keys.front().is_some_and(|key| key.unit.offset <= cut.unit.offset) {
            self.keys.pop_front();
        }
        self.last = Some(cut);
    }
}

#[cfg(test)]
mod tests;

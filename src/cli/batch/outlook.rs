//! What a title would take: looked up where it can be had at once, estimated where all of the input would have to be read.

use crate::cli::error::CliError;
use crate::cli::package::{Around, PackageArgs};
use crate::keys::ProviderName;
use crate::package::input::{InputPlace, InputSpec, Reader};
use crate::package::plan::Plan;
use crate::package::published::{Standing, standing};

/// What there is to do about a title.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Its package is to be made.
    #[default]
    ToMake,
    /// Its package takes the place of one that is there.
    ToReplace,
    /// Nothing: its package is there.
    Complete,
}

/// What a title would take.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    /// Whether there is anything to do.
    pub state: State,
    /// Renditions.
    pub renditions: u64,
    /// Bytes of its inputs.
    pub bytes: u64,
    /// Segments, about.
    pub segments: u64,
    /// Objects that would be put into buckets, about: package, claim and key.
    pub puts: u64,
    /// Calls of AWS KMS.
    pub kms_calls: u64,
}

impl Outlook {
    /// Adds another title's.
    pub fn add(&mut self, other: &Self) {
        self.renditions += other.renditions;
        self.bytes += other.bytes;
        self.segments += other.segments;
        self.puts += other.puts;
        self.kms_calls += other.kms_calls;
    }
}

/// Bytes that a title takes in memory: tiles and windows, and what is on its way to or from a network.
pub fn memory(args: &PackageArgs, specs: &[InputSpec]) -> u64 {
    // A thread has eight tiles of 128 KiB and room to pick packets in; an input has its window and its scanner.
    const OF_THREAD: u64 = 2 << 20;
    const OF_INPUT: u64 = 2 << 20;
    let is_remote = specs.iter().any(|spec| !matches!(spec.place, InputPlace::File(_)))
        || args.dest().is_ok_and(|dest| !dest.is_folder());
    let held = if is_remote { args.memory() } else { 0 };
    OF_THREAD + specs.len() as u64 * OF_INPUT + held
}

/// Looks into a title's inputs, and whether its package is there.
///
/// # Errors
/// What would stand against it, as far as that can be seen from its inputs' heads and its key store.
pub fn outlook(args: &PackageArgs, around: &Around<'_>) -> Result<Outlook, CliError> {
    let plan = args.plan(around)?;
    let job = args.job_without_inputs(around.output)?;
    let store = match args.sealed_by() {
        Some(_) => args.key_store().open_if_there()?,
        None => None,
    };
    let standing = standing(&job, &plan, store.as_ref())?;
    let segments = segments(&plan, job.making.policy.target.seconds());
    let renditions = plan.renditions.len() as u64;
    // The master playlist, the record and the lock; claim, key, and the mark that the claim is done with.
    let of_package = if job.dest.is_folder() { 0 } else { segments + renditions + 3 };
    let of_keys = if args.sealed_by().is_some() && args.key_store().is_in_bucket() { 3 } else { 0 };
    Ok(Outlook {
        state: match standing {
            Standing::Complete => State::Complete,
            Standing::New => State::ToMake,
            Standing::Replacement => State::ToReplace,
        },
        renditions,
        bytes: plan.inputs.iter().map(|input| length(&input.reader)).sum(),
        segments,
        puts: of_package + of_keys,
        kms_calls: u64::from(args.sealed_by().is_some_and(|provider| *provider != ProviderName::Local)),
    })
}

/// Segments of `target` seconds, by the size of each input and the bit rate at its beginning.
fn segments(plan: &Plan, target: f64) -> u64 {
    let of_input = |(number, input): (usize, &crate::package::plan::PlannedInput)| {
        let carried = plan.renditions.iter().filter(|rendition| rendition.input == number);
        let (count, rate) = carried.fold((0u64, 0u64), |(count, rate), one| (count + 1, rate + one.bit_rate));
        let seconds = length(&input.reader) as f64 * 8.0 / rate.max(1) as f64;
        count * ((seconds / target).ceil() as u64).max(1)
    };
    plan.inputs.iter().enumerate().map(of_input).sum()
}

fn length(reader: &Reader) -> u64 {
    match reader {
        Reader::File { input, .. } => input.identity.len,
        Reader::Pipe(_) => 0,
    }
}

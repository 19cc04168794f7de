//! What a long run tells those who watch it.

/// Is told how a run goes on. Calls come from several threads.
pub trait Progress: Send + Sync + std::fmt::Debug {
    /// How many bytes the inputs hold in all; None when that is not known.
    fn total(&self, bytes: Option<u64>);
    /// The inputs have been scanned so many bytes further.
    fn scanned(&self, bytes: u64);
    /// So many bytes of segments have been written.
    fn written(&self, bytes: u64);
    /// A segment is complete.
    fn segment(&self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn total(&self, _bytes: Option<u64>) {}
    fn scanned(&self, _bytes: u64) {}
    fn written(&self, _bytes: u64) {}
    fn segment(&self) {}
}

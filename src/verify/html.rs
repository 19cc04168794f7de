//! The report as a page of its own.

use super::report::Report;

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    format!("{:?}", report.target)
}

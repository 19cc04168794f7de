//! The room as others see it.

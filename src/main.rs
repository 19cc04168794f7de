//! The `keyrung` command.
fn main() {}

//! Keystead's command.
fn main() {}

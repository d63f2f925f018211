//! The small command over the library.
fn main() {}

//! What an envelope costs beside the bare cipher.
fn main() {}

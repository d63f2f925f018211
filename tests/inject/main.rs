//! What becomes of pods that refer to sealed secrets: a corpus of pods with what is made of each, and laws that hold for all pods.
//!
//! `UPDATE=1 cargo test --locked --test inject` writes the answers anew; whoever does so reads every line that changed.

mod again;
mod cluster;
mod golden;
mod late;
mod laws;
mod pods;

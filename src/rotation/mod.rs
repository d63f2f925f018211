//! Rotation: how a secret's next value becomes true outside, step by step.

pub mod postgres;
pub mod rotator;

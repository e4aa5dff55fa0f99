//! Kurier's manual: its [architecture], its [guarantees], and the meaning of its [errors].

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("errors.md")]
pub mod errors {}

//! Kurier's manual: [how it is built](architecture), [what it promises](guarantees), and [what its errors mean](errors).

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("errors.md")]
pub mod errors {}

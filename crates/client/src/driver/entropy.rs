//! Unpredictable bytes of the operating system.

use kurier_engine::core::Entropy;

/// The operating system's source.
#[derive(Clone, Copy, Debug)]
pub(super) struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// # Panics
    /// If the operating system has no source of random numbers: without it, no authentication is safe.
    fn nonce(&mut self) -> [u8; 24] {
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).expect("the operating system has a source of random numbers");
        nonce
    }
}

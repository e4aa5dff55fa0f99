//! Measurements of the producer, as programs in `src/bin`. Each uses only the public API of `kurier`.

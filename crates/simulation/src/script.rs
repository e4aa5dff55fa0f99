//! Choices of a fuzz target, read from its bytes.

use kurier_protocol::{ErrorCode, Uuid};

/// The limit of a list.
pub(super) const LIST_MAX: u8 = 6;

/// Source of the run's choices, byte by byte; zeros after the end.
pub(super) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(super) fn below(&mut self, limit: u8) -> u8 {
        self.byte() % limit.max(1)
    }

    /// Returns true for most bytes.
    pub(super) fn mostly(&mut self) -> bool {
        self.byte() < 0xe0
    }

    /// Returns a small number, or one at the limits of its range.
    pub(super) fn number(&mut self) -> i64 {
        match self.byte() {
            0xff => i64::MAX,
            0xfe => i64::MIN,
            0xfd => i32::MAX.into(),
            0xfc => i16::MAX.into(),
            byte => i64::from(byte.cast_signed()),
        }
    }

    pub(super) fn int32(&mut self) -> i32 {
        i32::try_from(self.number()).unwrap_or(i32::MIN)
    }

    pub(super) fn int16(&mut self) -> i16 {
        i16::try_from(self.number()).unwrap_or(i16::MIN)
    }

    pub(super) fn code(&mut self) -> ErrorCode {
        if self.mostly() { ErrorCode::NONE } else { ErrorCode(self.int16()) }
    }

    pub(super) fn id(&mut self) -> Uuid {
        Uuid([self.below(3); 16])
    }

    pub(super) fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(LIST_MAX)).map(|_| one(self)).collect()
    }

    pub(super) fn host(&mut self) -> String {
        match self.byte() {
            0xff => String::new(),
            0xfe => "\u{1b}[31m".repeat(60),
            byte => format!("n{}", byte % 4),
        }
    }

    pub(super) fn port(&mut self) -> i32 {
        if self.mostly() { 9092 } else { self.int32() }
    }
}

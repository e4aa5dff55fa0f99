//! A producer without sockets, tasks and a clock of its own, for tests.

pub(crate) mod hands;

//! The Zibrato worker that flushes to Librato-compatible services

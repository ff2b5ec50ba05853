//! The kit for Zibrato workers: ledger, settling through an outbox, retries, the Backend trait

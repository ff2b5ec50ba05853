//! The Zibrato broker: takes frames in, fans them out by level, keeps the newest state of every instance

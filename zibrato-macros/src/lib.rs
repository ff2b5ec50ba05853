//! The attribute macros of Zibrato: time_me and count_me

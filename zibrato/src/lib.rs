//! Measure a program from inside: counters, timers, gauges and distributions that cost a few instructions

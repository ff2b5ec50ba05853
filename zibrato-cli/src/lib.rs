//! The program zibrato: every part as a subcommand

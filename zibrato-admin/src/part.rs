use zibrato_core::frame::Row;

use crate::exposition::Help;

/// A program, as far as its admin port tells of it.
pub trait Part: Send + Sync + 'static {
    /// Why it does not work; nothing while its loops turn. It must wait for nothing that could be stuck, which
    /// [`Liveness::stuck`](crate::Liveness::stuck) does not.
    fn troubles(&self) -> Vec<String>;

    /// Why it cannot do its work at present, though its loops may turn; nothing where it can. Waits for nothing either.
    fn lacks(&self) -> Vec<String>;

    /// Its own metrics, as it tells them at level `zibrato`. May wait for locks.
    fn metrics(&self) -> Vec<Row>;

    /// What its metrics mean.
    fn help(&self) -> Help;

    /// A JSON object with what it knows of itself. May wait for locks.
    fn status(&self) -> String;
}

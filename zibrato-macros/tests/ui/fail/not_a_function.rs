use zibrato_macros::{count_me, time_me};

#[time_me]
struct Record {
    field: u32,
}

#[count_me]
impl Record {
    fn method(&self) {}
}

#[time_me]
trait Service {}

#[time_me]
mod module {}

#[time_me]
const CONSTANT: u32 = 5;

#[count_me]
static STATIC: fn() = main;

#[time_me]
use std::fmt;

#[time_me]
type Alias = u32;

fn main() {
    let record = Record { field: CONSTANT };
    let _: Alias = record.field;
    record.method();
    let _: fmt::Result = Ok(());
}

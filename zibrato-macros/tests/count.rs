//! `#[count_me]` on functions that are not async.

mod stub;

use std::panic::catch_unwind;

use stub::taken;
use zibrato_macros::{count_me, time_me};

fn counted(name: &str) -> String {
    format!("count info count::{name}")
}

#[count_me(crate = crate::stub)]
fn once() {}

#[count_me(crate = crate::stub, value = 5)]
fn five() {}

#[count_me(crate = crate::stub, value = 0)]
fn zero() {}

#[count_me(crate = crate::stub, value = 0x7fff_ffff_ffff_ffff_u64)]
fn most() {}

#[test]
fn whole_increments_take_the_short_way() {
    once();
    five();
    zero();
    most();
    assert_eq!(taken(), ["once 1", "five 5", "zero 0", "most 9223372036854775807"].map(counted));
}

#[count_me(crate = crate::stub, value = 0.5)]
fn half() {}

#[count_me(crate = crate::stub, value = 2f64)]
fn two() {}

#[count_me(crate = crate::stub, value = -1)]
fn down() {}

#[count_me(crate = crate::stub, value = -(3_000_000_000))]
fn far_down() {}

#[count_me(crate = crate::stub, value = -0.25)]
fn quarter_down() {}

#[test]
fn fractions_and_negative_numbers_are_added() {
    half();
    two();
    down();
    far_down();
    quarter_down();
    let added = |event: &str| format!("add info count::{event}");
    assert_eq!(
        taken(),
        [
            "half Counter 0.5",
            "two Counter 2",
            "down Updown -1",
            "far_down Updown -3000000000",
            "quarter_down Updown -0.25"
        ]
        .map(added)
    );
}

struct Batch {
    items: Vec<u8>,
}

impl Batch {
    #[count_me(crate = crate::stub, name = "items", value = self.items.len())]
    fn consume(self) -> Vec<u8> {
        let items = self.items;
        stub::record("body".into());
        items
    }
}

#[count_me(crate = crate::stub, name = "sum", value = a + b * 2)]
fn sum(a: u32, b: u32) -> u32 {
    a + b
}

#[test]
fn run_time_value_is_read_before_the_body() {
    assert_eq!(Batch { items: vec![1, 2] }.consume(), [1, 2]);
    assert_eq!(sum(1, 2), 3);
    assert_eq!(taken(), ["add info items Counter 2", "body", "add info sum Counter 5"]);
}

#[test]
fn run_time_value_comes_out_of_a_macro() {
    macro_rules! function {
        ($literal:expr, $negative:expr, $computed:expr) => {
            #[count_me(crate = crate::stub, name = "l", value = $literal)]
            fn literal() {}
            #[count_me(crate = crate::stub, name = "n", value = $negative)]
            fn negative() {}
            #[count_me(crate = crate::stub, name = "c", value = $computed)]
            fn computed() {}
        };
    }
    function!(3, -3, 2 + 2);
    literal();
    negative();
    computed();
    assert_eq!(taken(), ["count info l 3", "add info n Updown -3", "add info c Counter 4"]);
}

#[test]
fn takes_all_options() {
    #[count_me(
        crate = crate::stub,
        value = 7,
        outcome,
        tags("a b" = "c"),
        source = "here",
        name = "n",
        level = "warning"
    )]
    fn all() {}
    all();
    assert_eq!(taken(), ["count warning n @here a b=c Counter 7 => ok"]);
}

#[count_me(crate = crate::stub, outcome)]
fn outcome(text: &str) -> Result<u32, std::num::ParseIntError> {
    if text == "early" {
        return Ok(0);
    }
    assert!(text != "panic", "on purpose");
    Ok(text.parse::<u32>()? + 1)
}

#[count_me(crate = crate::stub, outcome, value = -2)]
fn never(text: &str) -> ! {
    panic!("{text}")
}

#[test]
fn outcome_counts_at_the_end() {
    assert!(outcome("1").is_ok());
    assert!(outcome("early").is_ok());
    assert!(outcome("x").is_err());
    assert!(catch_unwind(|| outcome("panic")).is_err());
    assert!(catch_unwind(|| never("on purpose")).is_err());
    assert_eq!(
        taken(),
        [
            "outcome Counter 1 => ok",
            "outcome Counter 1 => ok",
            "outcome Counter 1 => error",
            "outcome Counter 1 => panicked",
            "never Updown -2 => panicked"
        ]
        .map(counted)
    );
}

#[test]
fn both_attributes_stand_together() {
    #[count_me(crate = crate::stub, name = "calls", outcome)]
    #[time_me(crate = crate::stub, name = "time")]
    fn both(fail: bool) -> Result<(), ()> {
        if fail { Err(()) } else { Ok(()) }
    }
    assert!(both(true).is_err());
    assert!(both(false).is_ok());
    assert_eq!(
        taken(),
        [
            "count info calls Counter 1 => error",
            "time info time",
            "count info calls Counter 1 => ok",
            "time info time"
        ]
    );
}

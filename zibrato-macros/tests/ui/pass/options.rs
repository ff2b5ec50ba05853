//! Every form of every option.

use zibrato_macros::{count_me, time_me};

#[path = "../../stub/mod.rs"]
mod stub;

#[time_me(crate = crate::stub)]
fn no_option() {}

#[time_me(crate = crate::stub,)]
fn trailing_comma() {}

#[time_me(crate = self::stub, level = "any-label", name = r"raw \d", source = "host/7", tags())]
fn strings() {}

#[time_me(crate = stub, tags(a = "1", "b.c" = "2", type = "3", r#fn = "4",), outcome)]
fn tags() {}

#[time_me(crate = stub, tags(
    a = "1", b = "1", c = "1", d = "1", e = "1", f = "1", g = "1", h = "1",
    i = "1", j = "1", k = "1", l = "1", m = "1", n = "1", o = "1", p = "1"
))]
fn sixteen_tags() {}

#[time_me(crate = crate::stub, tags(outcome = "free without the flag"))]
fn own_outcome() {}

#[time_me(crate = crate::stub, name = concat!(module_path!(), ".", stringify!(x)), source = env!("CARGO_PKG_NAME"))]
fn macros() {}

#[count_me(crate = crate::stub, value = 1_000)]
fn whole() {}

#[count_me(crate = crate::stub, value = 0x10u8)]
fn suffixed() {}

#[count_me(crate = crate::stub, value = 1e3)]
fn float() {}

#[count_me(crate = crate::stub, value = -1.5f32)]
fn negative() {}

#[count_me(crate = crate::stub, value = if a.is_empty() { 0 } else { a.len() })]
fn computed(a: &str) {
    let _ = a;
}

#[count_me(crate = crate::stub, value = { let n = a; n * 2 }, outcome)]
fn block(a: u32) {
    let _ = a;
}

#[time_me(crate = crate::stub, sample = 16)]
fn sampled() {}

#[time_me(crate = crate::stub, sample = 0x10, outcome)]
fn sampled_outcome() {}

#[time_me(crate = crate::stub, ordered)]
fn ordered() {}

fn main() {
    no_option();
    trailing_comma();
    strings();
    tags();
    sixteen_tags();
    own_outcome();
    macros();
    whole();
    suffixed();
    float();
    negative();
    computed("abc");
    block(4);
    sampled();
    sampled_outcome();
    ordered();
    assert_eq!(
        stub::taken(),
        [
            "time info $CRATE::no_option",
            "time info $CRATE::trailing_comma",
            "time any-label raw \\d @host/7",
            "time info $CRATE::tags a=1 b.c=2 type=3 fn=4 => ok",
            "time info $CRATE::sixteen_tags a=1 b=1 c=1 d=1 e=1 f=1 g=1 h=1 i=1 j=1 k=1 l=1 m=1 n=1 o=1 p=1",
            "time info $CRATE::own_outcome outcome=free without the flag",
            concat!("time info $CRATE.x @", env!("CARGO_PKG_NAME")),
            "count info $CRATE::whole 1000",
            "count info $CRATE::suffixed 16",
            "add info $CRATE::float Counter 1000",
            "add info $CRATE::negative Updown -1.5",
            "add info $CRATE::computed Counter 3",
            "count info $CRATE::block Counter 8 => ok",
            "time (sample 16) info $CRATE::sampled",
            "time (sample 16) info $CRATE::sampled_outcome => ok",
            "time (ordered) info $CRATE::ordered",
        ]
        .map(|event| event.replace("$CRATE", module_path!()))
    );
}

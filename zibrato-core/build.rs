//! Only here because Cargo wants a build script beside `links`, which keeps the registry single.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}

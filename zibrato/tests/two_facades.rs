//! Two versions of the facade in one program count into one registry.

use zibrato::testing::capture;

#[test]
fn two_versions_of_the_facade_share_one_registry() {
    let ((), captured) = capture(|| {
        zibrato::count!("shared", 2);
        zibrato_twin::count!("shared", 3);
        zibrato_twin::counter("shared").handle().add(5);
    });
    assert_eq!(captured.count("shared"), 10);
    assert_eq!(zibrato::status().metrics, zibrato_twin::status().metrics);
}

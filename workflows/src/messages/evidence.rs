//! What proofs say beyond red and green, in words for people. Only what was really checked is claimed.

use serde::Serialize;

use super::{counted, one_line};
use crate::contract::ids::Digest;
use crate::contract::plan::RemovedTest;
use crate::contract::workspace::{Evidence, Proof};

/// Places named in one message.
const NAMED: usize = 10;

/// The evidence of some proofs together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Told {
    /// What was checked, one sentence each without a full stop.
    checked: Vec<String>,
    /// Old tests that went with the change, as the plan says.
    gone: Vec<String>,
    /// Parts of the change that no new test misses.
    unnoticed: Vec<String>,
    /// What a person should look at.
    look_at: Vec<String>,
    /// Where the proofs are kept.
    kept: Vec<Digest>,
}

/// Tells the evidence of [`Proof`]s. Used as a template filter: `{% set found = proofs | evidence %}`.
#[expect(clippy::needless_pass_by_value, reason = "signature of a template filter")]
pub(super) fn evidence(proofs: minijinja::Value) -> minijinja::Value {
    // What does not decode is not claimed.
    let proofs: Vec<Proof> = serde_json::to_value(&proofs).and_then(serde_json::from_value).unwrap_or_default();
    minijinja::Value::from_serialize(tell(&proofs))
}

fn tell(proofs: &[Proof]) -> Told {
    let tested: Vec<&Evidence> =
        proofs.iter().filter(|proof| !proof.new_tests.is_empty()).map(|proof| &proof.evidence).collect();
    let all = |holds: fn(&Evidence) -> bool| !tested.is_empty() && tested.iter().all(|evidence| holds(evidence));
    let sum = |count: fn(&Evidence) -> u32| tested.iter().map(|evidence| count(evidence) as usize).sum::<usize>();
    let mut checked = Vec::new();
    let flipped = sum(|evidence| evidence.flipped);
    if flipped > 0 {
        let literals = counted(flipped, "literal in the assertions was", "literals in the assertions were");
        checked.push(format!("{literals} changed, and the tests went red"));
    }
    let undone = sum(|evidence| evidence.undone);
    if undone > 0 {
        let parts = counted(undone, "part of the change was", "parts of the change were");
        let each = if undone == 1 { "a new test went red" } else { "a new test went red each time" };
        checked.push(format!("{parts} taken back, and {each}"));
    }
    if all(|evidence| evidence.canaries) {
        checked.push("a passing and a failing test of the harness beside the new ones were reported truly".to_owned());
    }
    if all(|evidence| evidence.base_settings) {
        checked.push("the new tests also pass with the test settings of the base".to_owned());
    }
    let named = |list: fn(&Evidence) -> &Vec<String>| {
        let mut named: Vec<String> = Vec::new();
        for place in proofs.iter().flat_map(|proof| list(&proof.evidence)).map(|place| one_line(place)) {
            if !named.contains(&place) {
                named.push(place);
            }
        }
        if named.len() > NAMED {
            let more = named.len() - NAMED;
            named.truncate(NAMED);
            named.push(format!("and {more} more"));
        }
        named
    };
    // Each of them: nobody may overlook one. The plan bounds how many there are.
    let gone = proofs.iter().flat_map(|proof| &proof.removed).map(|gone| {
        let RemovedTest { file, test, reason } = &gone.named;
        let went = counted(gone.count as usize, "test", "tests");
        let what = if test.is_empty() { format!("{file} with {went}") } else { format!("{test} of {file} ({went})") };
        one_line(&format!("{what}: {reason}"))
    });
    Told {
        checked,
        gone: gone.collect(),
        unnoticed: named(|evidence| &evidence.unnoticed),
        look_at: named(|evidence| &evidence.look_at),
        kept: proofs.iter().filter_map(|proof| proof.kept.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::workspace::{ProvenTest, SuiteCount};

    fn proof(evidence: Evidence) -> Proof {
        Proof {
            command: "pytest".into(),
            base: "81c0".repeat(10).parse().unwrap(),
            new_tests: vec![ProvenTest { id: "t".into(), red: "assert 1 == 2".into() }],
            all_new: 1,
            marks: Vec::new(),
            suite: SuiteCount::default(),
            evidence,
            without_tests: None,
            removed: Vec::new(),
            log: Digest::of("log"),
            kept: None,
        }
    }

    #[test]
    fn only_what_was_checked_is_claimed() {
        assert_eq!(tell(&[proof(Evidence::default())]), Told::default());
        assert_eq!(tell(&[]), Told::default());
        let whole = Evidence { canaries: true, flipped: 3, undone: 1, base_settings: true, ..Evidence::default() };
        let told = tell(&[proof(whole.clone())]);
        assert_eq!(told.checked[0], "3 literals in the assertions were changed, and the tests went red");
        assert_eq!(told.checked[1], "1 part of the change was taken back, and a new test went red");
        assert_eq!(told.checked.len(), 4);
        // One task whose runner allows no canary: the pair is not claimed for both.
        let told = tell(&[proof(whole), proof(Evidence { undone: 2, ..Evidence::default() })]);
        assert_eq!(told.checked.len(), 2);
        assert!(told.checked[1].starts_with("3 parts"), "{told:?}");
    }

    #[test]
    fn places_are_named_once_and_not_without_end() {
        let unnoticed: Vec<String> = (0..12).map(|n| format!("a.py:{n}")).collect();
        let told = tell(&[
            proof(Evidence { unnoticed: unnoticed.clone(), ..Evidence::default() }),
            proof(Evidence { unnoticed, look_at: vec!["reads\nfiles".into()], ..Evidence::default() }),
        ]);
        assert_eq!(told.unnoticed.len(), 11);
        assert_eq!(told.unnoticed.last().unwrap(), "and 2 more");
        assert_eq!(told.look_at, ["reads files"]);
    }
}

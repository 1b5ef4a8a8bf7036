//! Tests of `parse_method`: each way to a score read whole, and every fault named with its key.

use super::super::{Condition, JudgeSpec, LongInput, Method, Over, PartFold, SpecProblem};

const HEAD: &str = "name = \"j\"\nversion = \"1\"\nsummary = \"Is it good?\"\n";
const BINARY: &str = "[scale]\ntype = \"binary\"\n";

fn parse(rest: &str) -> Result<JudgeSpec, Vec<SpecProblem>> {
    JudgeSpec::parse("j", &format!("{HEAD}{rest}"), "Judge it.", "")
}

fn faults(rest: &str) -> Vec<String> {
    parse(rest).unwrap_err().into_iter().map(|problem| problem.at).collect()
}

#[test]
fn each_way_to_a_score_is_read_and_changes_the_digest() {
    let labels = "[scale]\ntype = \"labels\"\nlabels = [{ label = \"first\", value = 1 }, { label = \"tie\", value = 0.5 }, { label = \"second\", value = 0 }]\n";
    let ways = [
        format!("{BINARY}[expected_score]\n"),
        format!("{BINARY}[expected_score]\notherwise = \"vote\"\n"),
        "[[criteria]]\nname = \"a\"\nsummary = \"?\"\nscale = { type = \"binary\" }\n[[criteria]]\nname = \"b\"\nsummary = \"?\"\nscale = { type = \"binary\" }\n".to_owned(),
        format!("inputs = [\"output\", \"reference\"]\n{labels}[pairwise]\nfirst = \"output\"\nsecond = \"reference\"\n"),
        format!("{BINARY}[[tree]]\nname = \"q\"\nask = \"?\"\nanswers = [{{ answer = \"yes\", score = \"pass\" }}, {{ answer = \"no\", score = \"fail\" }}]\n"),
        format!("inputs = [\"transcript\"]\n{BINARY}[parts]\nover = \"turns\"\nfold = \"mean\"\n"),
        format!("{BINARY}[few_shot]\nexamples = 3\n"),
        format!("says_sure = true\n{BINARY}"),
        format!("long_input = \"summary\"\n{BINARY}"),
        format!("when = \"kind=a\"\n{BINARY}"),
        BINARY.to_owned(),
    ];
    let specs: Vec<JudgeSpec> =
        ways.iter().map(|way| parse(way).unwrap_or_else(|faults| panic!("{way}: {faults:?}"))).collect();
    let digests: std::collections::BTreeSet<String> = specs.iter().map(|spec| spec.digest().to_string()).collect();
    assert_eq!(digests.len(), specs.len());
    assert_eq!(specs[0].gives().bounds(), Some((0.0, 1.0)));
    assert!(
        matches!(&specs[5].method, Method::Parts(parts) if parts.over == Over::Turns && parts.fold == PartFold::Mean)
    );
    assert_eq!(specs[8].long_input, LongInput::Summary);
    assert_eq!(specs[9].when, Some(Condition::Filter("kind=a".into())));
    let by_length = parse(&format!("inputs = [\"transcript\"]\nlong_input = \"steps\"\n{BINARY}")).unwrap();
    assert!(
        matches!(by_length.method, Method::Parts(parts) if parts.over == Over::Room && parts.fold == PartFold::Worst)
    );
}

#[test]
fn what_cannot_work_is_refused() {
    assert_eq!(faults(&format!("{BINARY}[expected_score]\nleast_mass = 0\n")), ["expected_score.least_mass"]);
    let ten = "[scale]\ntype = \"number\"\nmin = 1\nmax = 10\nstep = 1\n[expected_score]\n";
    assert_eq!(faults(ten), ["expected_score"]);
    assert_eq!(faults("[scale]\ntype = \"number\"\nmin = 1\nmax = 10\n[expected_score]\n"), ["expected_score"]);
    let one = "[[criteria]]\nname = \"a\"\nsummary = \"?\"\nscale = { type = \"binary\" }\n";
    assert_eq!(faults(one), ["criteria"]);
    assert!(faults(&format!("{one}{one}")).contains(&"criteria.name".to_owned()));
    assert!(
        faults(&format!("{BINARY}[pairwise]\nfirst = \"output\"\nsecond = \"reference\"\n"))
            .contains(&"pairwise.second".to_owned())
    );
    assert!(
        faults(&format!("{BINARY}[pairwise]\nfirst = \"output\"\nsecond = \"output\"\n"))
            .contains(&"pairwise".to_owned())
    );
    let tree = |answers: &str| format!("{BINARY}[[tree]]\nname = \"q\"\nask = \"?\"\nanswers = [{answers}]\n");
    let back = "{ answer = \"yes\", next = \"q\" }, { answer = \"no\", score = \"fail\" }";
    assert_eq!(faults(&tree(back)), ["tree.answers.next"], "no way back");
    assert_eq!(
        faults(&tree("{ answer = \"yes\", score = \"maybe\" }, { answer = \"no\", score = \"fail\" }")),
        ["tree.answers.score"]
    );
    assert_eq!(faults(&tree("{ answer = \"yes\" }, { answer = \"no\", score = \"fail\" }")), ["tree.answers"]);
    let island = format!(
        "{}[[tree]]\nname = \"r\"\nask = \"?\"\nanswers = [{{ answer = \"yes\", score = \"pass\" }}, {{ answer = \"no\", score = \"fail\" }}]\n",
        tree("{ answer = \"yes\", score = \"pass\" }, { answer = \"no\", score = \"fail\" }")
    );
    assert_eq!(faults(&island), ["tree"], "a question that no answer leads to");
    assert_eq!(faults(&format!("{BINARY}[parts]\n")), ["parts"]);
    assert_eq!(faults(&format!("says_sure = true\n{BINARY}[expected_score]\n")), ["says_sure"]);
    assert_eq!(faults(&format!("{BINARY}[expected_score]\n[few_shot]\nexamples = 99\n")), ["few_shot.examples"]);
}

#[test]
fn the_depth_of_a_tree_is_known() {
    let tree = format!(
        "{BINARY}[[tree]]\nname = \"a\"\nask = \"?\"\nanswers = [{{ answer = \"yes\", next = \"b\" }}, {{ answer = \"no\", score = \"fail\" }}]\n\
         [[tree]]\nname = \"b\"\nask = \"?\"\nanswers = [{{ answer = \"yes\", next = \"c\" }}, {{ answer = \"no\", next = \"c\" }}]\n\
         [[tree]]\nname = \"c\"\nask = \"?\"\nanswers = [{{ answer = \"yes\", score = \"pass\" }}, {{ answer = \"no\", not_applicable = true }}]\n"
    );
    let Method::Tree(tree) = parse(&tree).unwrap().method else { panic!("a tree") };
    assert_eq!(tree.depth(), (1, 3));
}

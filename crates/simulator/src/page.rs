//! The page in the docs: its tables and its picture.

use std::path::Path;
use std::{fs, io};

use crate::contest::{self, Contest, Plan};
use crate::machine::Discipline;
use crate::{plot, report};

/// Writes what came of the contests of `plan` into the page and its picture. `contests` are those
/// of a plan of all there is; processor sharing is run here.
pub(crate) fn write(plan: &Plan, contests: &[Contest]) -> io::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let path = docs.join("simulation.md");
    let mut sharing = Plan {
        discipline: Discipline::Ps,
        ..plan.clone()
    };
    sharing.setups.retain(|setup| setup.has_bar);
    let sharing = contest::hold(&sharing);
    let alone = |contest: &&Contest| contest.setup.name == "1x1";
    let mut page = fs::read_to_string(&path)?;
    page = replace(&page, "verdicts", &report::verdicts(contests))?;
    page = replace(&page, "verdicts-ps", &report::verdicts(&sharing))?;
    page = replace(
        &page,
        "results",
        &report::results(contests.iter().filter(alone)),
    )?;
    fs::write(path, page)?;
    fs::write(docs.join("simulation.svg"), plot::plot(contests))
}

/// Puts `text` between the two marks of this name.
fn replace(page: &str, name: &str, text: &str) -> io::Result<String> {
    let (begin, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let parts = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some(format!("{before}{begin}\n{text}\n{end}{after}"))
    });
    parts.ok_or_else(|| io::Error::other(format!("the page has no marks for {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_between_marks_is_replaced_and_nothing_else() {
        let page = "a\n<!-- x -->\nold\n<!-- end of x -->\nb\n";
        let new = replace(page, "x", "new").expect("it has the marks");
        assert_eq!(new, "a\n<!-- x -->\n\nnew\n<!-- end of x -->\nb\n");
        assert_eq!(replace(&new, "x", "new").expect("it still has"), new);
        assert!(replace(page, "y", "new").is_err());
    }
}

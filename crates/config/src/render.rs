//! Problems as text for people: file, line, column, the text underlined, what to do.

use std::ops::Range;

use annotate_snippets::{
    AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str as printable,
};

use crate::problem::{Problem, Problems, Severity, Source};

impl Problems {
    /// All problems in the order of their places, with colours for a terminal or without.
    ///
    /// ```text
    /// error: unknown key `endpoint`
    ///  --> pointsman.toml:5:1
    ///   |
    /// 5 | endpoint = ["10.0.0.11:3000"]
    ///   | ^^^^^^^^
    ///   |
    ///   = help: did you mean `endpoints`?
    /// ```
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut sorted: Vec<&Problem> = self.list.iter().collect();
        sorted.sort_by_key(|problem| problem.place.as_ref().map(|place| place.start));
        let mut out = String::new();
        for problem in sorted {
            out += &renderer.render(&[self.report(problem)]);
            out += "\n\n";
        }
        if self.left_out > 0 {
            out += &format!("and {} more\n", self.left_out);
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn report(&self, problem: &Problem) -> Group<'_> {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(printable(&problem.message));
        // Messages quote what the file says, which may hold control characters.
        let help = problem
            .help
            .as_ref()
            .map(|help| Level::HELP.message(printable(help)));
        let primary = problem.place.as_ref().and_then(|place| self.locate(place));
        let Some((source, place)) = primary else {
            return Group::with_title(title).elements(help);
        };
        let also = problem
            .also
            .as_ref()
            .and_then(|(place, label)| Some((self.locate(place)?, *label)));

        let mut group = Group::with_title(title);
        match also {
            Some(((other, also), label)) if other.base == source.base => {
                let lines = lines(
                    &source.text,
                    place.start.min(also.start)..place.end.max(also.end),
                );
                group = group.element(
                    snippet(source, &lines)
                        .annotation(AnnotationKind::Primary.span(within(&lines, &place)))
                        .annotation(
                            AnnotationKind::Context
                                .span(within(&lines, &also))
                                .label(label),
                        ),
                );
            }
            Some(((other, also), label)) => {
                group = group.element(primary_snippet(source, &place));
                let lines = lines(&other.text, also.clone());
                group = group.element(
                    snippet(other, &lines).annotation(
                        AnnotationKind::Context
                            .span(within(&lines, &also))
                            .label(label),
                    ),
                );
            }
            None => group = group.element(primary_snippet(source, &place)),
        }
        group.elements(help)
    }
}

fn primary_snippet<'a>(
    source: &'a Source,
    place: &Range<usize>,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let lines = lines(&source.text, place.clone());
    snippet(source, &lines).annotation(AnnotationKind::Primary.span(within(&lines, place)))
}

/// The whole lines that `place` touches. Only they are given to the renderer, whose work grows
/// with the text.
fn lines(text: &str, place: Range<usize>) -> Range<usize> {
    let start = text[..place.start]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let end = text[place.end..]
        .find('\n')
        .map_or(text.len(), |newline| place.end + newline);
    start..end
}

fn snippet<'a>(
    source: &'a Source,
    lines: &Range<usize>,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let before = &source.text.as_bytes()[..lines.start];
    Snippet::source(&source.text[lines.clone()])
        .line_start(1 + before.iter().filter(|&&byte| byte == b'\n').count())
        .path(printable(&source.name))
}

fn within(lines: &Range<usize>, place: &Range<usize>) -> Range<usize> {
    place.start - lines.start..place.end - lines.start
}

//! Mistakes in a config, collected.

use std::fmt;
use std::ops::Range;

use crate::spanned::Place;

/// A file as it was read, or the command line.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
    /// Where the text begins, counted through all files: one number then is a place in a set of
    /// files.
    pub(crate) base: usize,
}

impl Source {
    /// A source behind those in `before`.
    pub(crate) fn behind(before: &[Source], name: String, text: String) -> Self {
        // One byte between files: the end of one is not the beginning of the next.
        let base = before.last().map_or(0, |last| last.end() + 1);
        Self { name, text, base }
    }

    pub(crate) fn end(&self) -> usize {
        self.base + self.text.len()
    }
}

/// Errors and warnings about a config, with the text they are about.
///
/// Shown with [`Problems::render`]; as an error it displays as the plain rendering.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    pub(crate) sources: Vec<Source>,
    pub(crate) list: Vec<Problem>,
    /// Found beyond [`PROBLEMS_MAX`].
    pub(crate) left_out: usize,
    has_errors: bool,
}

/// One mistake.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    /// Lower case, no full stop.
    pub(crate) message: String,
    /// `None`: about the whole.
    pub(crate) place: Option<Place>,
    /// Another place that has to do with it, and what.
    pub(crate) also: Option<(Place, &'static str)>,
    pub(crate) help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The config cannot be used.
    Error,
    /// It can, and is hardly meant so.
    Warning,
}

/// Most problems kept. Nobody reads more, and a file of 16 MiB may be nothing but mistakes.
const PROBLEMS_MAX: usize = 200;

impl Problems {
    /// Number of problems found, warnings included.
    pub fn len(&self) -> usize {
        self.list.len() + self.left_out
    }

    /// True if nothing was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// True if something within this place is wrong.
    pub(crate) fn has_errors_in(&self, place: &Place) -> bool {
        let is_inside = |inner: &Place| place.start <= inner.start && inner.end <= place.end;
        self.list
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .any(|problem| problem.place.as_ref().is_some_and(is_inside))
    }

    pub(crate) fn error(
        &mut self,
        place: impl Into<Option<Place>>,
        message: impl Into<String>,
    ) -> &mut Problem {
        self.push(Severity::Error, place.into(), message.into())
    }

    pub(crate) fn warning(
        &mut self,
        place: impl Into<Option<Place>>,
        message: impl Into<String>,
    ) -> &mut Problem {
        self.push(Severity::Warning, place.into(), message.into())
    }

    fn push(&mut self, severity: Severity, place: Option<Place>, message: String) -> &mut Problem {
        self.has_errors |= severity == Severity::Error;
        // The last one gives way, so that the caller has one to add help to.
        if self.list.len() == PROBLEMS_MAX {
            self.list.pop();
            self.left_out += 1;
        }
        self.list.push(Problem {
            severity,
            message,
            place,
            also: None,
            help: None,
        });
        self.list.last_mut().expect("one was just pushed")
    }

    /// The source that a place is in, and the place in its text.
    pub(crate) fn locate(&self, place: &Place) -> Option<(&Source, Range<usize>)> {
        let index = self
            .sources
            .partition_point(|source| source.base <= place.start);
        let source = self.sources.get(index.checked_sub(1)?)?;
        let inside = |position: usize| {
            let mut position = (position - source.base).min(source.text.len());
            while !source.text.is_char_boundary(position) {
                position -= 1;
            }
            position
        };
        Some((
            source,
            inside(place.start)..inside(place.end.max(place.start)),
        ))
    }
}

impl Problem {
    pub(crate) fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help = Some(text.into());
        self
    }

    pub(crate) fn also(&mut self, place: Place, label: &'static str) -> &mut Self {
        self.also = Some((place, label));
        self
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

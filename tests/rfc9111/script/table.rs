//! A table of rows, as it is written.

use std::collections::VecDeque;

/// Who runs rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    /// The layer around a service.
    InProcess,
    /// The proxy between an origin and a client, both on sockets.
    OverSockets,
}

/// Exchanges that show what a section says.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The section and what it says, and which values were put in.
    pub(crate) title: String,
    pub(crate) script: Vec<String>,
    only: Option<Runner>,
}

impl Row {
    pub(crate) fn runs_in(&self, runner: Runner) -> bool {
        self.only.is_none_or(|only| only == runner)
    }
}

/// The rows of a table. A line that is not indented begins one; one that begins with `#` says something.
pub(crate) fn rows(text: &str) -> impl Iterator<Item = Row> + '_ {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut lines = lines.filter(|line| !line.trim().is_empty()).peekable();
    std::iter::from_fn(move || {
        let title = lines.next()?;
        assert!(
            title.starts_with(['§', 'R']) && title.contains(": "),
            "no section: {title}"
        );
        let mut body = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
            body.push(line.trim());
        }
        Some(expanded(title, &body))
    })
    .flatten()
}

/// A value for each of the names in braces.
type Filled = Vec<(String, String)>;

fn expanded(title: &str, body: &[&str]) -> Vec<Row> {
    let mut only = None;
    let mut script = Vec::new();
    let mut names: Vec<(String, Vec<String>)> = Vec::new();
    for line in body {
        let (line, _remark) = line.split_once("  --").unwrap_or((line, ""));
        if let Some(why) = line.strip_prefix("only in process: ") {
            only = Some(Runner::InProcess);
            assert!(!why.is_empty(), "{title}: no reason");
        } else if let Some(why) = line.strip_prefix("only over sockets: ") {
            only = Some(Runner::OverSockets);
            assert!(!why.is_empty(), "{title}: no reason");
        } else if let Some((name, values)) = values(line) {
            match names.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => known.extend(values),
                None => names.push((name, values)),
            }
        } else {
            script.push(line.trim());
        }
    }
    assert!(!script.is_empty(), "{title}: no exchange");
    fillings(&names)
        .map(|filled| Row {
            title: titled(title, &filled),
            script: script.iter().map(|line| fill(line, &filled)).collect(),
            only,
        })
        .collect()
}

/// `{name} = value` or `{name} in a b c`.
fn values(line: &str) -> Option<(String, Vec<String>)> {
    let (name, rest) = line.strip_prefix('{')?.split_once('}')?;
    if let Some(words) = rest.strip_prefix(" in ") {
        return Some((
            name.to_owned(),
            words.split_whitespace().map(str::to_owned).collect(),
        ));
    }
    let value = rest.strip_prefix(" =")?;
    let value = value.strip_prefix(' ').unwrap_or(value);
    Some((name.to_owned(), vec![value.to_owned()]))
}

/// Every choice of a value for each name.
fn fillings(names: &[(String, Vec<String>)]) -> impl Iterator<Item = Filled> {
    let mut begun = VecDeque::from([Filled::new()]);
    for (name, values) in names {
        let longer = begun.iter().flat_map(|filled| {
            values.iter().map(move |value| {
                let mut filled = filled.clone();
                filled.push((name.clone(), value.clone()));
                filled
            })
        });
        begun = longer.collect();
    }
    begun.into_iter()
}

fn fill(line: &str, filled: &Filled) -> String {
    filled.iter().fold(line.to_owned(), |line, (name, value)| {
        line.replace(&format!("{{{name}}}"), value)
    })
}

fn titled(title: &str, filled: &Filled) -> String {
    let values: Vec<String> = filled
        .iter()
        .map(|(_, value)| format!("`{value}`"))
        .collect();
    match values.is_empty() {
        true => title.to_owned(),
        false => format!("{title}, {}", values.join(", ")),
    }
}

//! Markdown as far as the documents here use it: headings, links, tables, fenced code and code in a line.

/// A file and its text.
#[derive(Debug, Clone)]
pub struct Document {
    /// From the root of the repository, with `/`.
    pub path: String,
    pub text: String,
}

impl Document {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The lines outside fenced code, each with its number.
    pub fn lines(&self) -> Vec<(usize, &str)> {
        let mut fenced = false;
        let numbered = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        numbered
            .filter(|(_, line)| {
                let fence = line.trim_start().starts_with("```");
                fenced ^= fence;
                !fenced && !fence
            })
            .collect()
    }

    /// The anchors of the headings, as GitHub makes them.
    pub fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for (_, line) in self.lines() {
            let Some(heading) = heading(line) else { continue };
            let anchor = anchor(heading);
            let same = anchors.iter().filter(|other| other.trim_end_matches(is_count) == anchor).count();
            anchors.push(if same == 0 { anchor } else { format!("{anchor}-{same}") });
        }
        anchors
    }

    /// The targets of links in a line, each with the number of the line.
    pub fn links(&self) -> Vec<(usize, String)> {
        let targets = |line: &str| {
            let plain = without_code(line);
            let parts = plain.split("](").skip(1).filter_map(|part| part.split(')').next());
            parts.map(str::to_owned).collect::<Vec<_>>()
        };
        self.lines()
            .into_iter()
            .flat_map(|(at, line)| targets(line).into_iter().map(move |to| (at, to)))
            .collect()
    }

    /// What is below a heading, up to the next heading of the same or a higher level.
    #[track_caller]
    pub fn section(&self, title: &str) -> Document {
        let lines = self.lines();
        let begin = lines.iter().position(|(_, line)| heading(line) == Some(title));
        let begin = begin.unwrap_or_else(|| panic!("{} has no heading {title:?}", self.path));
        let level = level(lines[begin].1);
        let rest = lines[begin + 1..].iter().map(|(_, line)| *line);
        let text: Vec<&str> =
            rest.take_while(|line| heading(line).is_none() || level < self::level(line)).collect();
        Document { path: self.path.clone(), text: text.join("\n") }
    }

    /// The rows of every table, without the heads.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let lines = self.lines();
        let is_rule = |line: &str| line.starts_with("|-");
        let is_head = |at: usize| lines.get(at + 1).is_some_and(|(_, next)| is_rule(next));
        let rows = lines
            .iter()
            .enumerate()
            .filter(|(at, (_, line))| line.starts_with('|') && !is_rule(line) && !is_head(*at));
        rows.map(|(_, (_, line))| cells(line)).collect()
    }

    /// The first cells of every table, each with all names in it.
    pub fn first_names(&self) -> Vec<String> {
        self.rows().iter().flat_map(|row| codes(&row[0])).collect()
    }
}

/// The text of a heading.
pub fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    (line.starts_with('#') && text.starts_with(' ')).then(|| text.trim())
}

fn level(line: &str) -> usize {
    line.len() - line.trim_start_matches('#').len()
}

fn is_count(c: char) -> bool {
    c.is_ascii_digit() || c == '-'
}

fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    kept.replace(' ', "-")
}

fn cells(line: &str) -> Vec<String> {
    line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// What is between backticks in a line.
pub fn codes(line: &str) -> Vec<String> {
    line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A line without what is between backticks.
pub fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

#[test]
fn anchors_are_those_of_the_hosting_site() {
    let text =
        "# bindings.json\n## A `local` run, twice\n```\n# no heading\n```\n## Held\n## Held\n#no heading\n";
    let anchors = Document::new("a.md", text).anchors();
    assert_eq!(anchors, ["bindingsjson", "a-local-run-twice", "held", "held-1"]);
}

#[test]
fn links_in_code_are_text() {
    let text = "See [a](b.md#c), [d](e.md) and `[f](g.md)`.\n```\n[h](i.md)\n```\n";
    let links = Document::new("a.md", text).links();
    assert_eq!(links, [(1, "b.md#c".to_owned()), (1, "e.md".to_owned())]);
}

#[test]
fn a_section_ends_where_the_next_of_its_level_begins() {
    let text =
        "# A\n## B\n| x |\n|---|\n| `y`, `z` |\n### C\n| v |\n|---|\n| `w` |\n## D\n| u |\n|---|\n| `t` |\n";
    let document = Document::new("a.md", text);
    assert_eq!(document.section("B").first_names(), ["y", "z", "w"]);
    assert_eq!(document.section("A").first_names(), ["y", "z", "w", "t"]);
}

//! Reads types and their doc comments out of the code, as far as formatted code needs it.
//!
//! Why: references for people are made from what the code says of itself. Formatted code is regular enough for a reading by lines, and
//! a reading that is wrong shows in what is made from it.

use std::collections::BTreeMap;

use super::{path, read};

/// A struct or an enum.
#[derive(Debug, Clone, Default)]
pub struct Item {
    pub name: String,
    /// Its doc comment, as one paragraph.
    pub docs: String,
    /// What stands in `#[serde(...)]`.
    pub serde: String,
    pub is_enum: bool,
    /// Fields, or variants.
    pub parts: Vec<Part>,
}

/// A field of a struct or of a variant, or a variant of an enum.
#[derive(Debug, Clone, Default)]
pub struct Part {
    pub name: String,
    pub docs: String,
    pub serde: String,
    /// The type, without blanks; nothing for a variant.
    pub kind: String,
    /// The fields of a variant.
    pub parts: Vec<Part>,
}

/// All types in some files below `src`, by name; of two with one name the one that was named first.
pub fn items(files: &[&str]) -> BTreeMap<String, Item> {
    let mut all = BTreeMap::new();
    for file in files {
        for item in items_of(&read(&format!("src/{file}"))) {
            all.entry(item.name.clone()).or_insert(item);
        }
    }
    all
}

/// Every file of a directory below `src`.
pub fn files(directory: &str) -> Vec<String> {
    let listed = std::fs::read_dir(path("src").join(directory)).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.ends_with(".rs").then(|| format!("{directory}/{name}"))
    };
    let mut files: Vec<String> = listed.filter_map(name).collect();
    files.sort();
    files
}

fn items_of(text: &str) -> Vec<Item> {
    let mut found = Vec::new();
    let mut head = Head::default();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if head.take(line) {
            continue;
        }
        let words: Vec<&str> = line.split([' ', '<', '(', ';']).collect();
        if let ["pub", kind @ ("struct" | "enum"), name, ..] = words[..]
            && line.ends_with('{')
        {
            let mut body: Vec<&str> = Vec::new();
            for line in lines.by_ref().take_while(|line| *line != "}") {
                body.push(line);
            }
            found.push(Item {
                name: name.to_owned(),
                docs: head.docs(),
                serde: std::mem::take(&mut head.serde),
                is_enum: kind == "enum",
                parts: parts(&body, 4),
            });
        }
        head = Head::default();
    }
    found
}

/// The parts of a body whose lines are indented by so many columns.
fn parts(body: &[&str], indent: usize) -> Vec<Part> {
    let mut found: Vec<Part> = Vec::new();
    let mut head = Head::default();
    let mut lines = body.iter();
    while let Some(line) = lines.next() {
        let Some(line) = line.get(indent..) else {
            continue;
        };
        if head.take(line) {
            continue;
        }
        let plain = line.strip_prefix("pub ").unwrap_or(line);
        let (name, rest) = match plain.find(|c: char| !c.is_alphanumeric() && c != '_') {
            Some(end) => plain.split_at(end),
            None => (plain, ""),
        };
        let mut inner = Vec::new();
        if rest == " {" {
            let end = format!("{}}},", " ".repeat(indent));
            inner = lines
                .by_ref()
                .take_while(|line| ***line != end)
                .copied()
                .collect();
        }
        let kind = rest.strip_prefix(": ").unwrap_or_default();
        found.push(Part {
            name: name.to_owned(),
            docs: head.docs(),
            serde: std::mem::take(&mut head.serde),
            kind: kind.trim_end_matches(',').replace(' ', ""),
            parts: parts(&inner, indent + 4),
        });
        head = Head::default();
    }
    found
}

/// What stands above an item.
#[derive(Default)]
struct Head {
    docs: Vec<String>,
    serde: String,
}

impl Head {
    /// Whether the line is a part of it.
    fn take(&mut self, line: &str) -> bool {
        if let Some(text) = line.strip_prefix("///") {
            self.docs.push(text.trim().to_owned());
        } else if let Some(text) = line.strip_prefix("#[serde(") {
            self.serde.push_str(text.trim_end_matches(")]"));
            self.serde.push(',');
        } else if !line.starts_with("#[") {
            return false;
        }
        true
    }

    fn docs(&mut self) -> String {
        // Links between types say nothing outside the code.
        std::mem::take(&mut self.docs)
            .join(" ")
            .replace("[`", "`")
            .replace("`]", "`")
    }
}

#[test]
fn types_are_read_with_their_comments() {
    let text = "/// One.\n/// Two [`X`].\n#[derive(Debug)]\n#[serde(default)]\npub struct A {\n    /// F.\n    #[serde(rename = \"g\")]\n    \
                pub f: Option<Vec<u8>>,\n    h: u8,\n}\n\nfn x() {}\n\n/// E.\npub enum B {\n    /// C.\n    C,\n    /// D.\n    D {\n        \
                /// I.\n        i: u8,\n    },\n    F(u8),\n}\n";
    let items = items_of(text);
    let names: Vec<_> = items
        .iter()
        .map(|item| (&*item.name, &*item.docs))
        .collect();
    assert_eq!(names, [("A", "One. Two `X`."), ("B", "E.")]);
    let field = &items[0].parts[0];
    assert_eq!(
        (&*field.kind, &*field.serde, &*field.docs),
        ("Option<Vec<u8>>", "rename = \"g\",", "F.")
    );
    let variants: Vec<_> = items[1].parts.iter().map(|part| &*part.name).collect();
    assert_eq!(variants, ["C", "D", "F"]);
    assert_eq!(items[1].parts[1].parts[0].docs, "I.");
}

//! Symbols that a new test misses on the base. Missing one counts as red only if the change itself adds it.

use super::diff;

/// A symbol that code asked for and did not find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// A name, and the Python module it was looked for in where the message tells.
    Name { name: String, module: Option<String> },
    /// A whole module or package, by its dotted name.
    Module(String),
    /// A file, by its path from somewhere, without ending.
    File(String),
}

/// What a change adds outside the tests.
#[derive(Debug, Clone, Default)]
pub(super) struct Additions {
    /// (path, whether the file is new, lines it gains).
    files: Vec<(String, bool, Vec<String>)>,
}

impl Missing {
    /// Reads the line in which an interpreter or compiler names the symbol; `None`: it names none.
    pub(super) fn of(line: &str) -> Option<Self> {
        let quoted: Vec<&str> = line.split('\'').skip(1).step_by(2).collect();
        let ticked: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        let last = |path: &str| path.rsplit(['.', ':', ' ']).next().unwrap_or_default().to_owned();
        let name = |name: &str| Some(Self::Name { name: last(name), module: None });
        let in_module = |name: &str, module: Option<&&str>| {
            Some(Self::Name { name: name.to_owned(), module: module.map(|module| (*module).to_owned()) })
        };

        // Python
        if line.starts_with("ModuleNotFoundError: No module named") {
            return quoted.first().map(|module| Self::Module((*module).to_owned()));
        }
        if line.starts_with("ImportError: cannot import name") {
            return in_module(quoted.first()?, quoted.get(1));
        }
        if line.starts_with("AttributeError: module") {
            return in_module(quoted.get(1)?, quoted.first());
        }
        if line.starts_with("AttributeError:") && line.contains("has no attribute") {
            return name(quoted.get(1)?);
        }
        if line.starts_with("NameError: name") || line.contains("got an unexpected keyword argument") {
            return name(quoted.first()?);
        }
        // `Cart.total() takes 2 positional arguments but 3 were given`, `total() missing 1 required positional argument: 'x'`
        if let Some((called, fault)) = line.strip_prefix("TypeError: ").and_then(|rest| rest.split_once("() "))
            && (fault.starts_with("takes ") && fault.contains(" positional argument")
                || fault.starts_with("missing ") && fault.contains(" required "))
        {
            return name(called);
        }
        // TypeScript, whose messages have JavaScript's words in them
        if let Some((_, error)) = line.split_once("error TS") {
            return match error.split(':').next()? {
                "2305" | "2614" | "2724" => name(quoted.get(1)?),
                "2304" | "2339" | "2551" | "2552" => name(quoted.first()?),
                "2307" => file(quoted.first()?),
                _ => None,
            };
        }
        // JavaScript
        if let Some(rest) = line.strip_prefix("TypeError: ") {
            let call =
                rest.strip_suffix(" is not a function").or_else(|| rest.strip_suffix(" is not a constructor"))?;
            return name(call.trim_end_matches(')'));
        }
        if line.contains("does not provide an export named") {
            return name(quoted.last()?);
        }
        if line.contains("Cannot find module") {
            return file(quoted.first()?);
        }
        if let Some((_, rest)) = line.split_once("Failed to resolve import \"") {
            return file(rest.split('"').next()?);
        }
        if let Some((_, rest)) = line.split_once("Failed to load url ") {
            return file(rest.split_whitespace().next()?);
        }
        // Java
        if let Some((_, symbol)) = line.split_once("cannot find symbol: ") {
            // `method clamp(int) in class p.Cart`
            return name(symbol.split_whitespace().nth(1)?.split('(').next()?);
        }
        if let Some(package) = line.strip_prefix("package ").and_then(|rest| rest.strip_suffix(" does not exist")) {
            return Some(Self::Module(package.to_owned()));
        }
        if let Some((method, _)) = line.split_once(" cannot be applied to given types") {
            return name(method.split_whitespace().nth(1)?);
        }
        // Go
        if let Some((_, symbol)) = line.split_once("undefined: ") {
            return name(symbol.trim());
        }
        if let Some((_, member)) = line.split_once("has no field or method ") {
            return name(member.trim_end_matches(')'));
        }
        if let Some((_, field)) = line.split_once("unknown field ") {
            return name(field.split_whitespace().next()?);
        }
        if let Some((_, called)) = line.split_once(" arguments in call to ") {
            return name(called.split_whitespace().next()?);
        }
        // Rust
        let code = line.strip_prefix("error[")?.split(']').next()?;
        match code {
            "E0432" | "E0433" | "E0425" | "E0412" | "E0599" | "E0609" => name(ticked.first()?),
            // The reader of cargo's output has put the function's name there.
            "E0061" => name(ticked.last()?),
            "E0560" => name(ticked.get(1)?),
            _ => None,
        }
    }

    /// For a sentence.
    pub(super) fn label(&self) -> &str {
        match self {
            Self::Name { name, .. } => name,
            Self::Module(place) | Self::File(place) => place,
        }
    }
}

impl Additions {
    /// Reads `git diff --unified=0`; test files are left out.
    pub(super) fn of_diff(text: &str, is_test: &dyn Fn(&str) -> bool) -> Self {
        let mut files: Vec<(String, bool, Vec<String>)> = Vec::new();
        let mut new = false;
        let mut in_header = false;
        for line in text.lines() {
            if line.starts_with("diff --git ") {
                (new, in_header) = (false, true);
            } else if in_header && line.starts_with("new file mode") {
                new = true;
            } else if in_header && let Some(path) = diff::named(line) {
                files.push((path, new, Vec::new()));
            } else if line.starts_with("@@") {
                in_header = false;
            } else if !in_header && let (Some(added), Some((_, _, lines))) = (line.strip_prefix('+'), files.last_mut())
            {
                lines.push(added.to_owned());
            }
        }
        files.retain(|(path, ..)| !is_test(path));
        Self { files }
    }

    /// Whether the change brings this name.
    pub(super) fn bring(&self, name: &str) -> bool {
        self.add(&Missing::Name { name: name.to_owned(), module: None })
    }

    /// Whether the change adds what was missed.
    pub(super) fn add(&self, missing: &Missing) -> bool {
        match missing {
            Missing::Module(module) => self.files.iter().any(|(path, new, _)| *new && is_module(path, module)),
            Missing::File(file) => self.files.iter().any(|(path, new, _)| *new && is_file(path, file)),
            Missing::Name { name, module } => {
                let in_place = |path: &str| module.as_ref().is_none_or(|module| is_module(path, module));
                let mut files = self.files.iter().filter(|(path, ..)| in_place(path));
                files.any(|(path, _, lines)| {
                    let typed = path.ends_with(".java");
                    lines.iter().any(|line| defines(line, name) || typed && declares(line, name))
                })
            }
        }
    }
}

/// `shop.pricing` lies in `shop/pricing.py`, `src/shop/pricing/__init__.py` or, as a package, above a new file.
fn is_module(path: &str, module: &str) -> bool {
    let inner = module.replace('.', "/");
    let path = path.strip_prefix("src/").unwrap_or(path);
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    let stem = stem.strip_suffix("/__init__").or_else(|| stem.strip_suffix("/index")).unwrap_or(stem);
    let in_package = path.ends_with(".java") && path.contains(&format!("/{inner}/"));
    stem == inner || stem.ends_with(&format!("/{inner}")) || path.starts_with(&format!("{inner}/")) || in_package
}

/// `../src/tax`, `/w/src/tax.js`, `@/tax`: a path of the repository. The name of a package is none.
fn file(named: &str) -> Option<Missing> {
    let own = named.starts_with(['.', '/']) || named.contains('/');
    let inner = named.strip_prefix("/w/").unwrap_or(named);
    let inner = inner.strip_prefix("@/").or_else(|| inner.strip_prefix("~/")).unwrap_or(inner);
    let inner = script(inner.trim_start_matches(['.', '/']));
    let inner = inner.strip_suffix("/index").unwrap_or(inner);
    (own && !inner.is_empty()).then(|| Missing::File(inner.to_owned()))
}

/// `src/tax.ts`, `src/tax/index.js` and `src/tax.json` are all `src/tax`, and so are they `tax`.
fn is_file(path: &str, file: &str) -> bool {
    let stem = script(path);
    let stem = stem.strip_suffix("/index").unwrap_or(stem);
    stem == file || stem.ends_with(&format!("/{file}"))
}

/// A path without the ending that an import may leave out.
fn script(path: &str) -> &str {
    let endings = [".d.ts", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".json"];
    endings.iter().find_map(|ending| path.strip_suffix(ending)).unwrap_or(path)
}

const DEFINERS: [&str; 27] = [
    "def",
    "class",
    "fn",
    "func",
    "function",
    "struct",
    "enum",
    "trait",
    "type",
    "interface",
    "const",
    "static",
    "var",
    "let",
    "mut",
    "mod",
    "import",
    "as",
    "async",
    "get",
    "set",
    "namespace",
    "public",
    "private",
    "protected",
    "readonly",
    "record",
];

/// Words that may stand before a call, where a type stands before a declaration.
const NO_TYPES: [&str; 11] =
    ["return", "new", "throw", "else", "assert", "case", "yield", "instanceof", "do", "package", "import"];

/// Whether a line of Java declares `name`: a type stands before it, or it is a constant of an enumeration.
fn declares(line: &str, name: &str) -> bool {
    let line = line.trim();
    if name.is_empty() || ["//", "*", "/*"].iter().any(|comment| line.starts_with(comment)) {
        return false;
    }
    let word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).any(|(at, _)| {
        let (before, next) = (&line[..at], line[at + name.len()..].trim_start());
        if before.ends_with(word) || line[at + name.len()..].starts_with(word) {
            return false;
        }
        let previous = before.trim_end();
        let last_word = previous.rsplit(|c| !word(c)).next().unwrap_or_default();
        let typed = previous.len() < before.len() && previous.ends_with(|c| word(c) || c == '>' || c == ']');
        let constant = previous.is_empty() && name.chars().all(|c| c.is_uppercase() || c.is_numeric() || c == '_');
        (typed && !NO_TYPES.contains(&last_word) && next.starts_with(['(', ';', '=', ',', ')']))
            || (constant && (next.is_empty() || next.starts_with([',', ';', '('])))
    })
}

/// Whether a line brings `name` into being: a definition, an assignment, a parameter, a field, an import.
pub(super) fn defines(line: &str, name: &str) -> bool {
    let line = line.trim();
    if name.is_empty() || ["#", "//", "*", "/*"].iter().any(|comment| line.starts_with(comment)) {
        return false;
    }
    let word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + name.len()..]);
        if before.ends_with(word) || after.starts_with(word) {
            return false;
        }
        let previous = before.trim_end();
        let last_word = previous.rsplit(|c| !word(c)).next().unwrap_or_default();
        let next = after.trim_start();
        let assigned = (next.starts_with('=') && !next.starts_with("==")) || next.starts_with(':');
        DEFINERS.contains(&last_word)
            // A Go method: func (c *Cart) Total(
            || (line.starts_with("func (") && previous.ends_with(')'))
            // A method of a class in JavaScript, a field in Go: at the start of a line.
            || (previous.is_empty() && (next.starts_with('(') && next.ends_with('{') || next.starts_with(char::is_alphabetic)))
            // A member of an interface in TypeScript.
            || (previous.is_empty() && (next.starts_with("?:") || next.starts_with('(') && next.contains("): ")))
            || (assigned && (previous.is_empty() || previous.ends_with(['.', ',', '('])))
            // A parameter among others, an imported name among others.
            || (line.starts_with("def ") || line.contains("import ") || line.contains("export"))
                && previous.ends_with(['(', ',', '{'])
                && !next.starts_with('(')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str, module: Option<&str>) -> Option<Missing> {
        Some(Missing::Name { name: name.into(), module: module.map(Into::into) })
    }

    #[test]
    fn messages_name_their_symbol() {
        for (line, expected) in [
            (
                "ImportError: cannot import name 'clamp' from 'shop.pricing' (/w/shop/pricing.py)",
                name("clamp", Some("shop.pricing")),
            ),
            ("ModuleNotFoundError: No module named 'shop.tax'", Some(Missing::Module("shop.tax".into()))),
            ("AttributeError: module 'shop' has no attribute 'clamp'", name("clamp", Some("shop"))),
            ("AttributeError: 'Cart' object has no attribute 'clamp'", name("clamp", None)),
            ("AttributeError: type object 'Cart' has no attribute 'clamp'. Did you mean: 'x'?", name("clamp", None)),
            ("NameError: name 'clamp' is not defined", name("clamp", None)),
            ("TypeError: total() got an unexpected keyword argument 'floor'", name("floor", None)),
            ("TypeError: cart.clamp is not a function", name("clamp", None)),
            ("Cannot find module '../tax' from 'a.test.js'", Some(Missing::File("tax".into()))),
            (
                "Error: Cannot find module '/w/src/tax.service.js' imported from /w/test/a.test.mjs",
                Some(Missing::File("src/tax.service".into())),
            ),
            ("Error: Cannot find module 'left-pad'", None),
            ("Error: Cannot find package 'left-pad' imported from '/w/a.js'", None),
            (
                "Error: Failed to resolve import \"@/tax\" from \"a.test.ts\". Does the file exist?",
                Some(Missing::File("tax".into())),
            ),
            ("Error: Failed to load url ../src/tax/index.ts (resolved id: x)", Some(Missing::File("src/tax".into()))),
            ("TypeError: (0 , __vite_ssr_import_2__.clamp) is not a function", name("clamp", None)),
            ("TypeError: Cart is not a constructor", name("Cart", None)),
            ("TypeError: Cannot read properties of undefined (reading 'x')", None),
            (
                "SyntaxError: The requested module '../cart.js' does not provide an export named 'clamp'",
                name("clamp", None),
            ),
            ("a.test.ts:1:10 - error TS2305: Module '\"./cart\"' has no exported member 'clamp'.", name("clamp", None)),
            ("a.ts(1,2): error TS2339: Property 'clamp' does not exist on type 'Cart'.", name("clamp", None)),
            ("a.ts:1:2 - error TS2307: Cannot find module './tax' or its types.", Some(Missing::File("tax".into()))),
            ("a.ts:1:2 - error TS2322: Type 'string' is not assignable to type 'number'.", None),
            ("cannot find symbol: method clamp(int) in class p.Cart", name("clamp", None)),
            ("cannot find symbol: variable FLOOR in class p.Cart", name("FLOOR", None)),
            ("package p.tax does not exist", Some(Missing::Module("p.tax".into()))),
            ("method total in class p.Cart cannot be applied to given types;", name("total", None)),
            ("incompatible types: int cannot be converted to p.Cart", None),
            ("undefined: Clamp", name("Clamp", None)),
            ("c.Clamp undefined (type Cart has no field or method Clamp)", name("Clamp", None)),
            ("error[E0432]: unresolved import `shop::clamp`", name("clamp", None)),
            ("error[E0425]: cannot find function `clamp` in this scope", name("clamp", None)),
            ("error[E0560]: struct `Cart` has no field named `floor`", name("floor", None)),
            ("error[E0308]: mismatched types", None),
            (
                "error[E0061]: this function takes 2 arguments but 3 arguments were supplied: `total`",
                name("total", None),
            ),
            ("TypeError: total() takes 2 positional arguments but 3 were given", name("total", None)),
            ("TypeError: Cart.total() missing 1 required positional argument: 'tax'", name("total", None)),
            ("TypeError: total() takes no keyword arguments", None),
            ("too many arguments in call to shop.Total", name("Total", None)),
            ("KeyError: 'price'", None),
            ("TypeError: unsupported operand type(s) for +: 'int' and 'str'", None),
        ] {
            assert_eq!(Missing::of(line), expected, "{line}");
        }
    }

    #[test]
    fn only_what_the_change_adds_outside_the_tests_counts() {
        let additions = Additions::of_diff(
            "diff --git a/shop/pricing.py b/shop/pricing.py\nindex 1..2 100644\n--- a/shop/pricing.py\n+++ b/shop/pricing.py\n\
             @@ -1,0 +2,3 @@\n+def clamp(amount, floor=0):\n+    # other\n+    return max(amount, floor)\n\
             diff --git a/shop/tax.py b/shop/tax.py\nnew file mode 100644\n--- /dev/null\n+++ b/shop/tax.py\n@@ -0,0 +1 @@\n+RATE = 7\n\
             diff --git a/tests/test_x.py b/tests/test_x.py\nnew file mode 100644\n--- /dev/null\n+++ b/tests/test_x.py\n@@ -0,0 +1 @@\n+def cheat():\n",
            &crate::workspace::repository::is_test,
        );
        let adds = |line: &str| additions.add(&Missing::of(line).unwrap());
        assert!(adds("ImportError: cannot import name 'clamp' from 'shop.pricing' (x)"));
        assert!(!adds("ImportError: cannot import name 'clamp' from 'shop.cart' (x)"));
        assert!(adds("TypeError: clamp() got an unexpected keyword argument 'floor'"));
        assert!(adds("ModuleNotFoundError: No module named 'shop.tax'"));
        assert!(!adds("ModuleNotFoundError: No module named 'requests_mock'"));
        assert!(adds("NameError: name 'RATE' is not defined"));
        for absent in ["cheat", "other", "amoun", "max"] {
            assert!(!adds(&format!("NameError: name '{absent}' is not defined")), "{absent}");
        }
    }

    #[test]
    fn files_are_found_however_they_are_imported() {
        for (path, file, is) in [
            ("src/tax.ts", "tax", true),
            ("src/tax.ts", "src/tax", true),
            ("src/tax/index.js", "tax", true),
            ("src/tax.service.js", "tax.service", true),
            ("src/tax.service.js", "tax", false),
            ("src/syntax.ts", "tax", false),
        ] {
            assert_eq!(is_file(path, file), is, "{path} {file}");
        }
        assert!(is_module("src/main/java/p/tax/Tax.java", "p.tax"));
        assert!(!is_module("src/main/java/p/taxes/Tax.java", "p.tax"));
    }

    #[test]
    fn declarations_of_java_are_told_from_calls() {
        for line in [
            "public static int clamp(int x) {",
            "    List<String> clamp(int x,",
            "int[] clamp;",
            "private int clamp = 3;",
            "int clamp(int x);",
        ] {
            assert!(declares(line, "clamp"), "{line}");
        }
        assert!(declares("  FLOOR(1),", "FLOOR") && declares("public record Tax(int rate) { }", "rate"));
        for line in [
            "return clamp(x);",
            "int y = clamp(x);",
            "clamp(x);",
            "cart.clamp(x);",
            "if (clamp(x)) {",
            "// int clamp(int x) {",
            "int clamped(int x) {",
            "new clamp(1);",
        ] {
            assert!(!declares(line, "clamp"), "{line}");
        }
    }

    #[test]
    fn definitions_are_told_from_uses() {
        for line in [
            "pub fn clamp(x: i64) -> i64 {",
            "func (c *Cart) clamp(x int) {",
            "clamp = 3",
            "self.clamp: int = 3",
            "class clamp:",
            "def f(a, clamp):",
            "from .x import a, clamp",
            "export const clamp = 1",
            "  clamp(x) {",
            "  clamp(x: number): number;",
            "  clamp?: number;",
            "module.exports = { total, clamp };",
            "export { total, clamp }",
            "  public clamp(x: number) {",
            "exports.clamp = (x) => x;",
        ] {
            assert!(defines(line, "clamp"), "{line}");
        }
        for line in [
            "return clamp(x)",
            "clamp(x)",
            "if clamp == 3:",
            "print(clamp)",
            "# def clamp():",
            "def clamped():",
            "x = clamp",
            "module.exports = { total: clamp(1), clamp() };",
            "  clamp(x);",
        ] {
            assert!(!defines(line, "clamp"), "{line}");
        }
    }
}

//! Maven's Surefire and Failsafe, and Gradle: one `JUnit` report per class below the build directory.
//!
//! The reports lie where the code under test may write too, so they count for what canaries in the same run say about them.
//! An id is `package.Class#method`, as Maven names tests on its command line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::{Broken, Canary, Failure, HARNESS, Left, Nonce, Only, Report, Runner, junit, words};
use crate::sandbox::Exit;
use crate::workspace::repository::Repository;

/// Directories of reports, with a part of the path above them that makes them some.
const REPORTS: [&str; 3] = ["surefire-reports", "failsafe-reports", "test-results"];
/// Reports read of one run.
const REPORT_CAP: usize = 10_000;
/// How deep modules may lie.
const DEPTH: usize = 10;
/// Which tests to run, as Surefire's `-Dtest` takes them. Absent: all.
const CHOICE: &str = "only";

/// A build tool with `JUnit` or `TestNG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Java {
    Maven,
    Gradle,
}

pub(super) fn recognise(_: &Repository, command: &str) -> Option<Arc<dyn Runner>> {
    let tool = words(command).find_map(|word| match word {
        "mvn" | "mvnw" => Some(Java::Maven),
        "gradle" | "gradlew" => Some(Java::Gradle),
        _ => None,
    })?;
    Some(Arc::new(tool))
}

/// The test command that a build file suggests.
pub(in crate::workspace) fn detect(names: &[&str]) -> Option<String> {
    let has = |name: &str| names.contains(&name);
    if has("pom.xml") {
        return Some("mvn -q test".to_owned());
    }
    // `gradle init` writes no build file at the root, only settings that name the projects below.
    if !["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"].into_iter().any(has) {
        return None;
    }
    Some(if has("gradlew") { "./gradlew test" } else { "gradle test" }.to_owned())
}

impl Runner for Java {
    fn script(&self, command: &str, only: Option<&Only<'_>>) -> String {
        // Reports that lie in the repository are none of this run.
        let names = REPORTS.map(|name| format!("-path '*/{name}/*.xml'")).join(" -o ");
        let clean = format!("find . -type f \\( {names} \\) -delete");
        match self {
            // The wrapper would fetch Maven from a network that is not there.
            Self::Maven => {
                let command = command.replace("./mvnw", "mvn");
                format!("{clean}\nexport PATH={HARNESS}/bin:\"$PATH\"\n{command}")
            }
            Self::Gradle => {
                // The wrapper would fetch Gradle from a network that is not there.
                let mut command = command.replace("./gradlew", "gradle");
                let chosen = only.map(gradle_choice).unwrap_or_default();
                if command.trim_end().ends_with("test") && !chosen.is_empty() {
                    command.push_str(&chosen);
                }
                for tool in ["gradlew ", "gradle "] {
                    command = command.replace(tool, &format!("{tool}--offline --continue "));
                }
                format!("{clean}\n{command}")
            }
        }
    }

    fn harness(&self, only: Option<&Only<'_>>) -> Vec<(String, String)> {
        let wrapper = ("bin/mvn".to_owned(), include_str!("../harness/ticketwright_mvn.sh").to_owned());
        let choice = only.map(|only| (CHOICE.to_owned(), maven_choice(only)));
        std::iter::once(wrapper).chain(choice).filter(|_| *self == Self::Maven).collect()
    }

    fn holds(&self, path: &str, _content: &str, id: &str) -> bool {
        class_of(id).is_some_and(|class| {
            let class = class.split('$').next().unwrap_or(class).replace('.', "/");
            let stem = [".java", ".kt", ".groovy"].iter().find_map(|end| path.strip_suffix(end));
            stem.is_some_and(|stem| stem == class || stem.ends_with(&format!("/{class}")))
        })
    }

    fn title<'a>(&self, id: &'a str) -> &'a str {
        id.split_once('#').map_or(id, |(_, method)| method_of(method))
    }

    /// In the class itself, so that its extensions and set-up apply; only Java.
    fn canary(&self, path: &str, content: &str, _ids: &[&str], nonce: &Nonce) -> Option<Canary> {
        let (a, b, x, y) = (nonce.word(1), nonce.word(2), nonce.number(1), nonce.number(2));
        let (test, class) = [
            ("org.junit.jupiter.api.Test", "org.junit.jupiter.api.Assertions"),
            ("org.junit.Test", "org.junit.Assert"),
            ("org.testng.annotations.Test", "org.testng.Assert"),
        ]
        .into_iter()
        .find(|(test, _)| {
            let package = test.rsplit_once('.').map_or(*test, |(package, _)| package);
            content.contains(&format!("import {package}.")) || content.contains(&format!("import static {package}."))
        })?;
        // The last brace closes the class only if there is no other one beside it.
        let types = content.lines().filter(|line| is_type(line)).count();
        let (body, _) = content.rsplit_once('}').filter(|_| path.ends_with(".java") && types == 1)?;
        let bare = content.contains(&format!("import static {class}.assertEquals;"))
            || content.contains(&format!("import static {class}.*;"));
        let assert = if bare { "assertEquals".to_owned() } else { format!("{class}.assertEquals") };
        let case = |name: &str, left, right| {
            format!("\n    @{test}\n    public void {name}() {{\n        {assert}({left}, {right});\n    }}\n")
        };
        let cases = nonce.in_any_order(&case(&a, x, y), &case(&b, y, y));
        let content = format!("{}\n{cases}}}\n", body.trim_end());
        Some(Canary { path: path.to_owned(), content, passes: b, fails: a })
    }

    fn read(&self, left: &Left<'_>) -> Report {
        let mut paths = Vec::new();
        find(left.files, Path::new(""), DEPTH, &mut paths);
        let reports = paths.iter().filter_map(|path| path.to_str()).map(|path| left.file(path));
        read(reports, left.output, left.exit)
    }
}

/// Reads the reports of all classes, and what the build said.
fn read(reports: impl Iterator<Item = String>, output: &str, exit: &Exit) -> Report {
    let mut report = Report::default();
    let mut cut = false;
    for xml in reports {
        let (cases, ended) = junit::cases(&xml);
        cut |= !ended;
        for case in cases {
            report.note(&format!("{}#{}", case.class, case.name), case.fate);
        }
    }
    if let Some(failure) = compile_error(output) {
        // One error blocks the module: no test of it ran.
        report.broken.push(Broken { name: String::new(), failure });
    }
    // A test that ends its JVM leaves no report of its class.
    let died =
        ["terminated without properly saying goodbye", "The forked VM terminated", "finished with non-zero exit value"]
            .iter()
            .any(|line| output.contains(line) && report.broken.is_empty());
    let told = !report.tests.is_empty() || !report.broken.is_empty() || *exit == Exit::Code(0);
    report.ended = matches!(exit, Exit::Code(_)) && told && !died && !cut;
    report
}

/// What the compiler says, in one line with the symbol it did not find. Of several errors the one that names no symbol: it
/// decides. javac: `A.java:5: error: cannot find symbol`, Maven: `[ERROR] /w/A.java:[5,9] cannot find symbol`; both go on
/// with `symbol:` and `location:`.
fn compile_error(output: &str) -> Option<Failure> {
    let mut errors: Vec<String> = Vec::new();
    for line in output.lines() {
        let line = line.strip_prefix("[ERROR]").unwrap_or(line).trim();
        let message = line.split_once(".java:").and_then(|(_, rest)| {
            rest.split_once("] ")
                .filter(|_| rest.starts_with('['))
                .or_else(|| rest.split_once(": error: "))
                .map(|(_, m)| m)
        });
        if let Some(message) = message {
            errors.push(message.to_owned());
        } else if let (Some(error), Some(symbol)) = (errors.last_mut(), line.strip_prefix("symbol:")) {
            *error = format!("{error}: {}", symbol.split_whitespace().collect::<Vec<_>>().join(" "));
        } else if let (Some(error), Some(place)) = (errors.last_mut(), line.strip_prefix("location:")) {
            *error = format!("{error} in {}", place.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    if !output.contains("COMPILATION ERROR") && !output.contains(": error: ") {
        return None;
    }
    let missing = |error: &&String| error.starts_with("cannot find symbol") || error.ends_with("does not exist");
    let line = errors.iter().find(|error| !missing(error)).or_else(|| errors.first())?.clone();
    let text = output.lines().filter(|line| line.contains("ERROR") || line.contains("error: "));
    Some(Failure { asserted: false, line, text: text.take(20).collect::<Vec<_>>().join("\n") })
}

/// Reports below `root`, without following links.
fn find(root: &Path, below: &Path, depth: usize, found: &mut Vec<std::path::PathBuf>) {
    let in_reports = below.components().any(|part| REPORTS.iter().any(|name| part.as_os_str() == *name));
    for entry in std::fs::read_dir(root.join(below)).into_iter().flatten().filter_map(Result::ok) {
        let (path, name) = (below.join(entry.file_name()), entry.file_name());
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 && name != "node_modules" && name != ".git" && name != "src" {
            find(root, &path, depth - 1, found);
        } else if kind.is_file() && in_reports && found.len() < REPORT_CAP {
            let name = name.to_string_lossy();
            if name.starts_with("TEST-") && name.ends_with(".xml") {
                found.push(path);
            }
        }
    }
}

/// `p.CartTest#adds+par`, joined by commas.
fn maven_choice(only: &Only<'_>) -> String {
    let chosen = methods(only)
        .into_iter()
        .map(|(class, methods)| format!("{class}#{}", methods.into_iter().collect::<Vec<_>>().join("+")));
    chosen.collect::<Vec<_>>().join(",")
}

/// ` --tests 'p.CartTest.adds'` for each test.
fn gradle_choice(only: &Only<'_>) -> String {
    let chosen = methods(only)
        .into_iter()
        .flat_map(|(class, methods)| methods.into_iter().map(move |method| format!(" --tests '{class}.{method}*'")));
    chosen.collect()
}

/// The methods to run of each class, canaries among them. A name that is none in Java is left out.
fn methods<'a>(only: &Only<'a>) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let name = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_$.".contains(c));
    let mut chosen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for id in &only.ids {
        if let Some((class, method)) =
            id.split_once('#').filter(|(class, method)| name(class) && name(method_of(method)))
        {
            let methods = chosen.entry(class).or_default();
            methods.insert(method_of(method));
            methods.extend(only.canaries.iter().copied().filter(|canary| name(canary)));
        }
    }
    // A class around others holds the canaries of its file.
    let outer: Vec<&str> = chosen.keys().filter_map(|class| class.split_once('$')).map(|(outer, _)| outer).collect();
    for class in outer {
        chosen.entry(class).or_default().extend(only.canaries.iter().copied().filter(|canary| name(canary)));
    }
    chosen.retain(|_, methods| !methods.is_empty());
    chosen
}

fn class_of(id: &str) -> Option<&str> {
    id.split_once('#').map(|(class, _)| class)
}

/// `par` of `par(int)[1]`.
fn method_of(name: &str) -> &str {
    name.split(['(', '[', '{']).next().unwrap_or(name).trim_end()
}

/// Whether a line begins a type at the top level of a file.
fn is_type(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| {
        matches!(*word, "public" | "final" | "abstract" | "sealed" | "strictfp") || word.starts_with('@')
    });
    let kind = words.next();
    !line.starts_with(char::is_whitespace)
        && matches!(kind, Some("class" | "interface" | "enum" | "record" | "@interface"))
}

#[cfg(test)]
mod tests {
    use super::super::Fate;
    use super::*;

    /// Recorded from Surefire 3.5.4 with JUnit 5.13; shortened.
    const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuite version="3.0.2" name="p.CartTest" time="0.1" tests="7" errors="1" skipped="1" failures="2">
  <properties><property name="user.dir" value="/w"/></properties>
  <testcase name="breaks" classname="p.CartTest" time="0.043">
    <error message="boom &lt;x&gt; &amp; &quot;y&quot;" type="java.lang.IllegalStateException"><![CDATA[java.lang.IllegalStateException: boom <x> & "y"
	at p.CartTest.breaks(CartTest.java:9)
]]></error>
  </testcase>
  <testcase name="clamps" classname="p.CartTest" time="0.014">
    <failure message="expected: &lt;0&gt; but was: &lt;-4&gt;" type="org.opentest4j.AssertionFailedError"><![CDATA[org.opentest4j.AssertionFailedError: expected: <0> but was: <-4>
]]></failure>
  </testcase>
  <testcase name="par(int)[1]" classname="p.CartTest" time="0.012"/>
  <testcase name="later" classname="p.CartTest" time="0.0"><skipped message="later"/></testcase>
  <testcase name="in" classname="p.CartTest$Inner" time="0.002"/>
</testsuite>"#;
    const COMPILE: &str = "[INFO] Compiling 1 source file\n[ERROR] COMPILATION ERROR : \n\
        [ERROR] /w/src/test/java/p/CartTest.java:[8,44] cannot find symbol\n  symbol:   method clamp(int)\n  location: class p.Cart\n\
        [INFO] 1 error\n[ERROR] /w/src/test/java/p/CartTest.java:[8,44] cannot find symbol\n[ERROR]   symbol:   method clamp(int)\n\
        [ERROR]   location: class p.Cart\n";

    fn report(xml: &str, output: &str, code: i32) -> Report {
        read(std::iter::once(xml.to_owned()), output, &Exit::Code(code))
    }

    #[test]
    fn reports_of_surefire_are_read() {
        let report = report(REPORT, "[ERROR] There are test failures.", 1);
        assert!(report.ended && report.passed("p.CartTest#par(int)[1]") && report.passed("p.CartTest$Inner#in"));
        assert_eq!(report.tests["p.CartTest#later"], Fate::Skipped);
        let Fate::Failed(failure) = &report.tests["p.CartTest#clamps"] else { panic!("{report:?}") };
        assert!(failure.asserted && failure.line == "expected: <0> but was: <-4>");
        let Fate::Failed(failure) = &report.tests["p.CartTest#breaks"] else { panic!("{report:?}") };
        assert!(!failure.asserted && failure.line == r#"boom <x> & "y""#);
    }

    #[test]
    fn a_jvm_that_died_did_not_report() {
        let died = "[ERROR] The forked VM terminated without properly saying goodbye. VM crash or System.exit called?";
        assert!(!report(REPORT, died, 1).ended);
        assert!(!report(&REPORT[..REPORT.len() - 20], "", 0).ended);
        assert!(!read(std::iter::empty(), "", &Exit::Code(1)).ended);
        assert!(!read(std::iter::empty(), "", &Exit::TimedOut).ended);
    }

    #[test]
    fn compile_errors_name_what_is_missing() {
        let line = |output: &str| compile_error(output).map(|failure| failure.line);
        assert_eq!(line(COMPILE).unwrap(), "cannot find symbol: method clamp(int) in class p.Cart");
        let javac = "/w/src/test/java/p/CartTest.java:8: error: package p.tax does not exist\nimport p.tax.Tax;\n";
        assert_eq!(line(javac).unwrap(), "package p.tax does not exist");
        let other = format!("{COMPILE}[ERROR] /w/A.java:[9,1] incompatible types: int cannot be converted to p.Cart\n");
        assert_eq!(line(&other).unwrap(), "incompatible types: int cannot be converted to p.Cart");
        assert_eq!(line("[ERROR] /w/target/A.java:[1,1] x"), None);
        assert!(report(REPORT, COMPILE, 1).broken_for("p.CartTest#x").is_some());
    }

    #[test]
    fn single_tests_are_chosen_by_class_and_method() {
        let only = Only {
            ids: vec!["p.CartTest#par(int)[1]", "p.CartTest#adds", "p.CartTest$Inner#in", "p.Odd#a b"],
            files: vec!["src/test/java/p/CartTest.java"],
            canaries: vec!["xyz"],
        };
        assert_eq!(maven_choice(&only), "p.CartTest#adds+par+xyz,p.CartTest$Inner#in+xyz");
        assert!(Java::Gradle.script("./gradlew test", Some(&only)).contains(
            "gradle --offline --continue test --tests 'p.CartTest.adds*' --tests 'p.CartTest.par*' --tests 'p.CartTest.xyz*'"
        ));
        assert!(Java::Maven.holds("src/test/java/p/CartTest.java", "", "p.CartTest$Inner#in"));
        assert!(!Java::Maven.holds("src/test/java/q/CartTest.java", "", "p.CartTest#adds"));
        assert_eq!(Java::Maven.title("p.CartTest#par(int)[1]"), "par");
    }

    #[test]
    fn canaries_stand_in_the_class() {
        let nonce = Nonce::new();
        let canary = |content: &str| Java::Maven.canary("src/test/java/p/ATest.java", content, &[], &nonce);
        let jupiter = "package p;\nimport org.junit.jupiter.api.*;\nclass ATest {\n    @Test void a() { }\n}\n";
        let made = canary(jupiter).unwrap();
        assert!(
            made.content.contains("@org.junit.jupiter.api.Test\n    public void")
                && made.content.ends_with("    }\n}\n")
        );
        assert!(made.content.contains("org.junit.jupiter.api.Assertions.assertEquals("));
        let four = jupiter.replace("org.junit.jupiter.api.*", "org.junit.Test")
            + "// import static org.junit.Assert.assertEquals;\n";
        assert!(canary(&four).unwrap().content.contains("        assertEquals("));
        assert_eq!(canary(&format!("{jupiter}class B {{}}\n")), None);
        assert_eq!(canary("class ATest {}"), None);
    }

    #[test]
    fn build_files_tell_the_command() {
        assert_eq!(detect(&["pom.xml"]).unwrap(), "mvn -q test");
        assert_eq!(detect(&["build.gradle.kts", "gradlew"]).unwrap(), "./gradlew test");
        assert_eq!(detect(&["build.gradle"]).unwrap(), "gradle test");
        assert_eq!(detect(&["settings.gradle.kts", "app/build.gradle.kts", "gradlew"]).unwrap(), "./gradlew test");
        assert_eq!(detect(&["src/A.java"]), None);
        assert!(recognise(&Repository::default(), "./mvnw -q verify").is_some());
        assert!(recognise(&Repository::default(), "make test").is_none());
    }
}

//! Java: Maven and Gradle. Both find out what they need while they build, so an almost empty project is built once.

use super::super::environment::{GRADLE, MAVEN};
use super::{Files, Part, Plan, below, missing, outermost, quote};
use crate::workspace::setup::tooling::Tooling;

pub(super) fn is_manifest(folders: &str, file: &str) -> bool {
    let of_maven =
        folders.rsplit('/').next() == Some(".mvn") && matches!(file, "maven.config" | "jvm.config" | "extensions.xml");
    let of_gradle = matches!(
        file,
        "build.gradle"
            | "build.gradle.kts"
            | "settings.gradle"
            | "settings.gradle.kts"
            | "gradle.properties"
            | "gradle.lockfile"
    ) || file.ends_with(".versions.toml");
    of_maven || of_gradle || file == "pom.xml"
}

/// A test that does nothing, so that Maven fetches what runs tests: it looks for that only when there is one.
const JUPITER: &str = "class TicketwrightSetupTest { @org.junit.jupiter.api.Test void runs() {} }\n";
const JUNIT_4: &str = "public class TicketwrightSetupTest { @org.junit.Test public void runs() {} }\n";
const TEST_NG: &str = "public class TicketwrightSetupTest { @org.testng.annotations.Test public void runs() {} }\n";

/// Adds each outermost project; they share one local repository.
pub(super) fn maven(files: &Files, tooling: &Tooling, plan: &mut Plan) {
    let poms = files.manifests(|file| file == "pom.xml");
    let roots = outermost(files.directories_with(&["pom.xml"]));
    let Some(first) = roots.first() else { return };
    if !tooling.has("mvn") {
        plan.notes.push(missing("mvn", first, "pom.xml"));
        return;
    }
    let mut part = Part {
        title: "mvn package, with an empty test".into(),
        deps: vec![MAVEN.into()],
        tools: vec!["mvn".into(), "java".into()],
        ..Part::default()
    };
    for pom in &poms {
        let (module, _) = super::split(pom);
        let text = files.text(pom);
        if text.contains("<packaging>pom</packaging>") {
            continue;
        }
        // A module may get its test library from the parent.
        let everything = || poms.iter().map(|pom| files.text(pom)).collect::<String>();
        let test = [text.to_owned(), everything()].iter().find_map(|text| {
            let tests = [("junit-jupiter", JUPITER), ("testng", TEST_NG), ("<artifactId>junit</artifactId>", JUNIT_4)];
            tests.into_iter().find(|(mark, _)| text.contains(mark)).map(|(_, test)| test)
        });
        if let Some(test) = test {
            part.written.insert(below(module, "src/test/java/TicketwrightSetupTest.java"), test.to_owned());
        }
    }
    let build = |root: &String| {
        format!(
            "cd {}\nmvn --batch-mode --quiet --fail-at-end package || mvn --batch-mode --quiet dependency:go-offline\n",
            quote(&below("/w", root))
        )
    };
    part.online = format!("set -e\n{}", roots.iter().map(build).collect::<String>());
    let mut manifests = poms;
    manifests.extend(files.manifests(|file| matches!(file, "maven.config" | "jvm.config" | "extensions.xml")));
    part.manifests = Some(manifests);
    plan.parts.push(part);
}

/// Compiling leaves out what is only there when tests run.
const RESOLVE: &str = "allprojects { tasks.register('ticketwrightResolve') { doLast {\n\
    ['runtimeClasspath', 'testRuntimeClasspath'].each { name ->\n\
    def found = project.configurations.findByName(name)\n\
    if (found != null && found.canBeResolved) { found.incoming.artifactView { lenient = true }.files.files }\n\
    } } } }\n";

/// Adds each outermost build. The wrapper of a repository is a program of its own and is not run.
pub(super) fn gradle(files: &Files, tooling: &Tooling, plan: &mut Plan) {
    let names = ["settings.gradle", "settings.gradle.kts", "build.gradle", "build.gradle.kts"];
    let roots = outermost(files.directories_with(&names));
    let Some(first) = roots.first() else { return };
    if !tooling.has("gradle") {
        plan.notes.push(missing("gradle", first, "build.gradle"));
        return;
    }
    let build = |root: &String| {
        format!(
            "cd {}\ngradle --no-daemon --console=plain --quiet --init-script /w/.ticketwright.gradle testClasses ticketwrightResolve\n",
            quote(&below("/w", root))
        )
    };
    plan.parts.push(Part {
        title: "gradle testClasses".into(),
        written: [(".ticketwright.gradle".to_owned(), RESOLVE.to_owned())].into(),
        online: format!("set -e\n{}", roots.iter().map(build).collect::<String>()),
        manifests: Some(files.manifests(|file| is_manifest("", file) && file != "pom.xml")),
        deps: vec![GRADLE.into()],
        tools: vec!["gradle".into(), "java".into()],
        ..Part::default()
    });
}

/// A project without the dependencies it lists by name and version. What else it says may run programs while Maven builds: plugins
/// with their own dependencies, extensions, properties that are put into them.
pub(super) fn without_dependencies(pom: &str) -> String {
    const FIELDS: [&str; 7] = ["groupId", "artifactId", "version", "scope", "type", "classifier", "optional"];
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let is_listed = |block: &str| {
        let mut rest = block.trim_start();
        while !rest.is_empty() {
            let field = FIELDS.iter().find_map(|field| {
                let (value, after) = rest.strip_prefix(&format!("<{field}>"))?.split_once(&format!("</{field}>"))?;
                plain(value.trim()).then_some(after)
            });
            let Some(after) = field else { return false };
            rest = after.trim_start();
        }
        true
    };
    let mut left = String::new();
    let mut rest = pom;
    while let Some((before, after)) = rest.split_once("<dependency>") {
        left.push_str(before);
        let of_plugin = left.matches("<plugin").count() != left.matches("</plugin").count()
            || left.matches("<extension").count() != left.matches("</extension").count();
        match after.split_once("</dependency>") {
            Some((block, behind)) if !of_plugin && is_listed(block) => rest = behind,
            _ => {
                left.push_str("<dependency>");
                rest = after;
            }
        }
    }
    left.push_str(rest);
    // Where they stood does not matter.
    left.split_whitespace().collect::<Vec<_>>().join(" ").replace("<dependencies> </dependencies>", "")
}

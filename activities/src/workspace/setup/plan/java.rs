//! Java: Maven and Gradle. Both find out what they need while they build, so an empty project is built once.

use super::super::environment::{GRADLE, MAVEN};
use super::{Files, Part, Plan, Trial, below, missing, outermost, quote};
use crate::workspace::setup::install::MISSING;
use crate::workspace::setup::pinned::MAVEN_DEPENDENCY;
use crate::workspace::setup::tooling::Tooling;

pub(super) fn is_manifest(folders: &str, file: &str) -> bool {
    let of_maven =
        folders.rsplit('/').next() == Some(".mvn") && matches!(file, "maven.config" | "jvm.config" | "extensions.xml");
    of_maven || of_gradle(folders, file) || file == "pom.xml"
}

/// Whether Gradle reads a file to find out what a build is.
fn of_gradle(folders: &str, file: &str) -> bool {
    is_build_script(folders, file) || file == "gradle.lockfile" || file.ends_with(CATALOG)
}

/// How the names of files with versions for Gradle end.
pub(super) const CATALOG: &str = ".versions.toml";

/// Whether Gradle runs a file, or compiles it and then runs it, before anything is built.
pub(super) fn is_build_script(folders: &str, file: &str) -> bool {
    let ends = |ends: &[&str]| ends.iter().any(|end| file.ends_with(end));
    let of_builds = || folders.split('/').any(|folder| matches!(folder, "buildSrc" | "build-logic"));
    ends(&[".gradle", ".gradle.kts"])
        || file == "gradle.properties"
        || ends(&[".java", ".kt", ".groovy", ".properties"]) && of_builds()
}

/// A test that does nothing, so that Maven asks for what runs tests: it looks for that only when there is one.
const JUPITER: &str = "class TicketwrightSetupTest { @org.junit.jupiter.api.Test void runs() {} }\n";
const JUNIT_4: &str = "public class TicketwrightSetupTest { @org.junit.Test public void runs() {} }\n";
const TEST_NG: &str = "public class TicketwrightSetupTest { @org.testng.annotations.Test public void runs() {} }\n";

/// Names what a build without network asked for: `<group>:<artifact>:<kind>[:<classifier>]:<version>`. Surefire before 3 has words of
/// its own.
const NAME_MISSING: &str = "\
    name='[A-Za-z0-9._-]+'\n\
    grep -ohE \"artifact $name:$name:$name(:$name)?:$name has not been downloaded|\
    org\\.apache\\.maven\\.surefire:$name:(jar|pom):$name\" /tmp/trial-* | sed -E 's/^artifact | has not.*//g' | sort -u";

/// Gets each by its coordinates, which a project of its own does not have to list.
const FETCH: &str = "failed=0\n\
    for one in $missing; do\n\
    IFS=: read -r group artifact kind rest <<< \"$one\"\n\
    case $rest in *:*) classifier=${rest%%:*} version=${rest#*:};; *) classifier= version=$rest;; esac\n";

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
        title: "mvn package".into(),
        deps: vec![MAVEN.into()],
        tools: vec!["mvn".into(), "java".into()],
        ..Part::default()
    };
    let mut trial = Trial::default();
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
            trial.written.insert(below(module, "src/test/java/TicketwrightSetupTest.java"), test.to_owned());
        }
    }
    // There is nothing to compile and nothing to test: sources and tests are not there.
    let build = |root: &String| {
        format!(
            "cd {}\nmvn --batch-mode --quiet --fail-at-end package || mvn --batch-mode --quiet dependency:go-offline\n",
            quote(&below("/w", root))
        )
    };
    part.online = format!("set -e\n{}", roots.iter().map(build).collect::<String>());
    if !trial.written.is_empty() {
        let test = |(number, root): (usize, &String)| {
            let root = quote(&below("/w", root));
            format!("cd {root} && mvn --offline --batch-mode --fail-at-end test > /tmp/trial-{number} 2>&1\n")
        };
        let tests: String = roots.iter().enumerate().map(test).collect();
        trial.script = format!("{tests}{NAME_MISSING} > /w/{MISSING}\n");
        trial.fetch = format!(
            "{FETCH}mvn --batch-mode --quiet org.apache.maven.plugins:maven-dependency-plugin:{MAVEN_DEPENDENCY}:get \
             \"-Dartifact=$group:$artifact:$version:$kind${{classifier:+:$classifier}}\" || failed=1\ndone\nexit $failed\n"
        );
        part.trial = Some(trial);
    }
    let mut manifests = poms;
    manifests.extend(files.manifests(|file| matches!(file, "maven.config" | "jvm.config" | "extensions.xml")));
    part.manifests = Some(manifests);
    plan.parts.push(part);
}

/// Fetches what every configuration of every project names. Where there is no source nothing is compiled, so no task would ask for
/// it. What tests are compiled and run with has to be there; of the rest, some may be of no use here.
const RESOLVE: &str = "allprojects { tasks.create('ticketwrightResolve') { doLast {\n\
    project.configurations.findAll { it.canBeResolved }.each { found ->\n\
    if (found.name =~ /(?i)(compile|runtime)Classpath$|annotationProcessor$/) { found.files }\n\
    else { found.incoming.artifactView { it.lenient = true }.files.files }\n\
    } } } }\n";
/// The caches of dependencies are used in other places, and read-only; what says otherwise stays here.
const LEFT_OVER: &str =
    "rm -f /deps/gradle/caches/modules-*/modules-*.lock /deps/gradle/caches/modules-*/gc.properties\n";

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
            "cd {}\ngradle --no-daemon --console=plain --quiet --init-script /w/.ticketwright.gradle \
             -Dorg.gradle.configuration-cache=false -Dorg.gradle.unsafe.configuration-cache=false ticketwrightResolve\n",
            quote(&below("/w", root))
        )
    };
    let is_of_gradle = |path: &str| {
        let (folders, file) = super::split(path);
        of_gradle(folders, file)
    };
    plan.parts.push(Part {
        title: "gradle resolve".into(),
        written: [(".ticketwright.gradle".to_owned(), RESOLVE.to_owned())].into(),
        online: format!("set -e\n{}{LEFT_OVER}", roots.iter().map(build).collect::<String>()),
        manifests: Some(files.texts.keys().filter(|path| is_of_gradle(path)).cloned().collect()),
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

/// Whether two files of versions name the same plugins and libraries, whichever versions these have.
pub(super) fn differ_in_versions(one: &str, other: &str) -> bool {
    let rest = |text: &str| {
        let mut table = text.parse::<toml::Table>().ok()?;
        table.remove("versions");
        Some(table)
    };
    rest(one).is_some_and(|one| Some(one) == rest(other))
}

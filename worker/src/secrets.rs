//! Secrets: from the environment, or from files that it names (`<NAME>_FILE`). Never from the configuration file.

use std::collections::HashMap;

use secrecy::SecretString;

use crate::problem::Problem;

/// The process environment as the configuration sees it.
#[derive(Clone)]
pub(crate) struct Environment {
    variables: HashMap<String, String>,
}

impl Environment {
    /// The variables of this process. One that is not valid Unicode counts as absent.
    pub(crate) fn of_process() -> Self {
        let pairs =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { variables: pairs.collect() }
    }

    /// These variables and no others.
    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        Self { variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect() }
    }

    /// A variable's value; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The secret `name`, or the content of the file that `<name>_FILE` names.
    ///
    /// # Errors
    /// The file cannot be read, or is empty.
    pub(crate) fn secret(&self, name: &str) -> Result<Option<SecretString>, Problem> {
        if let Some(value) = self.get(name) {
            return Ok(Some(value.into()));
        }
        let variable = format!("{name}_FILE");
        let Some(path) = self.get(&variable) else { return Ok(None) };
        let fault = |why: String| {
            Problem::new(format!("{variable} names {path}, {why}."))
                .advice(format!("Put the secret alone into that file, readable for this user, or set {name} itself."))
        };
        let content =
            std::fs::read_to_string(path).map_err(|error| fault(format!("which cannot be read ({error})")))?;
        match content.trim() {
            "" => Err(fault("which is empty".to_owned())),
            secret => Ok(Some(secret.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_secret_comes_from_its_variable_or_from_the_file_that_is_named() {
        let file = std::env::temp_dir().join(format!("ticketwright-secret-{}", std::process::id()));
        std::fs::write(&file, "from file\n").unwrap();
        let path = file.to_str().unwrap();
        let environment =
            Environment::of(&[("A", " from variable "), ("B_FILE", path), ("C", ""), ("D_FILE", "/nowhere/d")]);
        let secret = |name| environment.secret(name).map(|found| found.map(|s| s.expose_secret().to_owned()));
        assert_eq!(secret("A").unwrap().as_deref(), Some("from variable"));
        assert_eq!(secret("B").unwrap().as_deref(), Some("from file"));
        assert_eq!(secret("C").unwrap(), None);
        let problem = secret("D").unwrap_err();
        assert!(problem.what().starts_with("D_FILE names /nowhere/d, which cannot be read"), "{problem}");
        std::fs::write(&file, "\n").unwrap();
        assert!(secret("B").unwrap_err().what().ends_with("which is empty."));
        std::fs::remove_file(&file).unwrap();
    }
}

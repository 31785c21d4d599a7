//! Reads requests: parameters and JSON bodies, checked against the very schema that the documentation shows, so that
//! the answer to a faulty request names every faulty field and says what is right.

use super::problem::{FieldError, Problem};
use super::text::Kind;
use poem::http::StatusCode;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaParamIn, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseFromJSON, ToJSON};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::{Map, Value};

/// A JSON object as the body of a request.
pub(super) struct JsonBody<T>(pub(super) T);

impl<'a, T: ParseFromJSON> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = MetaMediaType { content_type: "application/json", schema: T::schema_ref() };
        Some(MetaRequest { description: None, content: vec![content], required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        if !request.content_type().is_some_and(is_json) {
            let detail = "Send the body as JSON, with Content-Type: application/json.";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into());
        }
        Ok(Self(object(&crate::body::read(body.take()?).await?)?))
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// A `T` from the bytes of a body.
fn object<T: ParseFromJSON>(bytes: &[u8]) -> Result<T, Problem> {
    let invalid = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    let value = serde_json::from_slice(bytes).map_err(|error| invalid(format!("The body is not JSON: {error}.")))?;
    let Value::Object(fields) = &value else { return Err(invalid("The body must be a JSON object.".to_owned())) };
    let faults = faults(&Registry::new().create_fake_schema::<T>(), fields);
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    T::parse_from_json(Some(value)).map_err(|error| invalid(error.into_message()))
}

/// All that is wrong with an object's fields. Unknown fields are passed over.
fn faults(schema: &MetaSchema, fields: &Map<String, Value>) -> Vec<FieldError> {
    let fault_of = |(name, property): &(&'static str, MetaSchemaRef)| {
        let MetaSchemaRef::Inline(property) = property else { return None };
        let fault = match fields.get(*name) {
            Some(value) => fault(property, value),
            None => schema.required.contains(name).then(|| "is missing".to_owned()),
        };
        fault.map(|fault| FieldError::new(name, fault))
    };
    schema.properties.iter().filter_map(fault_of).collect()
}

/// What `value` must be, when it is something else.
fn fault(schema: &MetaSchema, value: &Value) -> Option<String> {
    let or_null = if schema.nullable { " or null" } else { "" };
    match (schema.ty, value) {
        (_, Value::Null) if schema.nullable => None,
        ("string", Value::String(text)) => Kind::of(schema).and_then(|kind| kind.fault(text)),
        ("string", _) => Some(format!("must be a string{or_null}")),
        ("boolean", Value::Bool(_)) => None,
        ("boolean", _) => Some(format!("must be true or false{or_null}")),
        ("integer", value) => {
            let (least, most) = (schema.minimum.unwrap_or(f64::MIN), schema.maximum.unwrap_or(f64::MAX));
            let is_sound = value.as_i64().is_some_and(|number| (least..=most).contains(&(number as f64)));
            (!is_sound).then(|| format!("must be a whole number from {least} to {most}{or_null}"))
        }
        _ => None,
    }
}

/// The parameter in a path, which has no other.
pub(super) struct InPath<T>(pub(super) T);

impl<'a, T: ParseFromJSON> ApiExtractor<'a> for InPath<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    const PARAM_IS_REQUIRED: bool = true;
    type ParamType = T;
    type ParamRawType = T::RawValueType;

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Path)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(T::schema_ref())
    }

    fn param_raw_type(&self) -> Option<&T::RawValueType> {
        self.0.as_raw_value()
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        options: ExtractParamOptions<T>,
    ) -> poem::Result<Self> {
        // The router numbers the parameters of a path.
        let text = request.raw_path_param("param0").unwrap_or_default();
        Ok(Self(parameter(options.name, Some(text))?))
    }
}

/// A parameter of the query string, which may be given once.
pub(super) struct InQuery<T>(pub(super) T);

impl<'a, T: ParseFromJSON + ToJSON> ApiExtractor<'a> for InQuery<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    const PARAM_IS_REQUIRED: bool = T::IS_REQUIRED;
    type ParamType = T;
    type ParamRawType = T::RawValueType;

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Query)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(T::schema_ref())
    }

    fn param_raw_type(&self) -> Option<&T::RawValueType> {
        self.0.as_raw_value()
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        options: ExtractParamOptions<T>,
    ) -> poem::Result<Self> {
        let query = request.uri().query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        let mut values = pairs.filter(|(name, _)| name == options.name).map(|(_, value)| value);
        let (value, second) = (values.next(), values.next());
        if second.is_some() {
            return Err(Problem::invalid_field(options.name, "must be given once only").into());
        }
        match (value, options.default_value) {
            (None, Some(default)) => Ok(Self(default())),
            (value, _) => Ok(Self(parameter(options.name, value.as_deref())?)),
        }
    }
}

/// A header of the request, which may be given once.
pub(super) struct InHeader<T>(pub(super) T);

impl<'a, T: ParseFromJSON> ApiExtractor<'a> for InHeader<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    const PARAM_IS_REQUIRED: bool = T::IS_REQUIRED;
    type ParamType = T;
    type ParamRawType = T::RawValueType;

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(T::schema_ref())
    }

    fn param_raw_type(&self) -> Option<&T::RawValueType> {
        self.0.as_raw_value()
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        options: ExtractParamOptions<T>,
    ) -> poem::Result<Self> {
        let mut values = request.headers().get_all(options.name).iter();
        let (value, second) = (values.next(), values.next());
        if second.is_some() {
            return Err(Problem::invalid_field(options.name, "must be given once only").into());
        }
        // Bytes that are no text become characters that no header of ours takes.
        let value = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
        Ok(Self(parameter(options.name, value.as_deref())?))
    }
}

/// A parameter is checked like a JSON value of its schema's type.
fn parameter<T: ParseFromJSON>(name: &str, text: Option<&str>) -> Result<T, Problem> {
    let MetaSchemaRef::Inline(schema) = T::schema_ref() else {
        return Err(Problem::invalid_field(name, "cannot be read"));
    };
    let value = match (text, schema.ty) {
        (None, _) => None,
        (Some(text), "integer") => Some(text.parse::<i64>().map_or_else(|_| text.into(), Value::from)),
        (Some(text), _) => Some(Value::from(text)),
    };
    let fault = match &value {
        Some(value) => fault(&schema, value),
        None => T::IS_REQUIRED.then(|| "is missing".to_owned()),
    };
    match fault {
        Some(fault) => Err(Problem::invalid_field(name, fault)),
        None => T::parse_from_json(value).map_err(|error| Problem::invalid_field(name, error.into_message())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::{Id, Whole};
    use super::*;
    use poem::error::ResponseError;
    use poem_openapi::Object;
    use poem_openapi::types::MaybeUndefined;

    #[derive(Debug, Object)]
    struct Example {
        id: Id,
        #[oai(nullable)]
        seconds: MaybeUndefined<Whole<0, 10>>,
        on: Option<bool>,
    }

    fn fault_of(body: &str) -> String {
        let problem = object::<Example>(body.as_bytes()).expect_err(body);
        assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
        problem.to_string()
    }

    #[test]
    fn all_faulty_fields_are_named_with_what_is_right() {
        assert_eq!(
            fault_of(r#"{"seconds": 11, "on": null}"#),
            "id is missing. seconds must be a whole number from 0 to 10 or null. on must be true or false."
        );
        for id in ["null", "0", "-1", "1.5", "1e3", "\"1\"", "[]", "{}", "true", "99999999999999999999"] {
            let fault = fault_of(&format!(r#"{{"id": {id}}}"#));
            assert_eq!(fault, "id must be a whole number from 1 to 9007199254740991.", "{id}");
        }
    }

    #[test]
    fn what_is_no_json_object_is_told_so() {
        for body in ["", "{", "[1]", "7", "null", "\u{feff}{}", r#"{"id": 1} x"#, &"[".repeat(100_000)] {
            assert!(fault_of(body).starts_with("The body "), "{body}");
        }
        assert!(object::<Example>(b"{\"id\": 1, \"\xff\": 1}").is_err());
    }

    #[test]
    fn null_and_absence_are_told_apart_and_unknown_fields_passed_over() {
        let both = object::<Example>(br#"{"id": 1, "seconds": null, "colour": {"a": [1]}}"#).unwrap();
        assert!(both.seconds.is_null() && both.on.is_none() && both.id.0 == 1);
        assert!(object::<Example>(br#"{"id": 1}"#).unwrap().seconds.is_undefined());
    }
}

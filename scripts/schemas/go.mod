module rutile/schemas

go 1.26.0

require (
	github.com/CycloneDX/cyclonedx-go v0.12.0
	github.com/modelcontextprotocol/registry v1.8.9
	github.com/securego/gosec/v2 v2.29.0
)

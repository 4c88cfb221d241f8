package company.roles

import rego.v1

# What these roles together may do with a kind of resource.
grants(names, kind) := {action |
	some name in names
	some covered in {kind, "*"}
	some action in data.roles[name].grants[covered]
}

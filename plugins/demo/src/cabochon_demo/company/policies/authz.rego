package company.authz

import data.company.roles
import rego.v1

# May `input.user` do `input.action` with `input.resource`?
default allow := false

allow if {
	user.active
	input.action in roles.grants(user.roles, resource.kind)
	not secret
}

allow if {
	user.active
	resource.owner == input.user
}

user := data.users[input.user]

resource := data.resources[input.resource]

secret if resource.sensitivity == "secret"

package company.audit

import rego.v1

# Active people whose manager has left.
orphaned contains login if {
	some login, user in data.users
	user.active
	not data.users[user.manager].active
	user.manager != null
}

# Resources whose owner has left.
ownerless contains name if {
	some name, resource in data.resources
	not data.users[resource.owner].active
}

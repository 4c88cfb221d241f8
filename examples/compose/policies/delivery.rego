# Who may deliver to whom: couriers, to people in the country that they are in themselves.
package delivery

import rego.v1

default allow := false

allow if {
	data.users[input.courier].role == "courier"
	data.users[input.courier].location.country == input.country
}

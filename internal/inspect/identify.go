package inspect

import "slices"

// Identifies reports whether a datum is one that a person or an account is known by, as
// a card or an identity number: not a name, an address or a number of a company, which
// stand in most texts. Every secret is.
func (d Datum) Identifies() bool {
	if d.Label != Personal {
		return true
	}
	return !slices.Contains([]string{"name", "kr-name", "email", "phone", "kr-phone", "date-of-birth", "ip-address", "mac-address", "crypto-address", "uk-postcode",
		"uk-plate", "in-plate", "ng-plate", "us-npi", "us-dea", "de-vat", "it-vat", "in-gstin", "au-abn", "se-organisation", "kr-business-number", "kr-corporation-number", "br-cnpj", "de-doctor-number"}, d.Kind)
}

"""How data is made: formatters of the official releases, and the draw of the observed labels."""

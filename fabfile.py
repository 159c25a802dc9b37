from tasks import ns as ns  # plain `fab` looks for this file only

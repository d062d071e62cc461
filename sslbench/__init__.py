"""sslbench: self-supervised vision methods under one budget, every number traceable."""

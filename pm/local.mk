# pm
